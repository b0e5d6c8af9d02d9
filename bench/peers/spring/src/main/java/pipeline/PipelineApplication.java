package pipeline;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** One program for both roles: the profile {@code api} takes readings, {@code worker} stores them. */
@SpringBootApplication
public class PipelineApplication {
  public static void main(String[] args) {
    SpringApplication.run(PipelineApplication.class, args);
  }
}
