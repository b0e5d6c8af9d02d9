package pipeline;

import jakarta.validation.Valid;
import jakarta.validation.constraints.NotEmpty;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.clients.admin.NewTopic;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Profile;
import org.springframework.http.ResponseEntity;
import org.springframework.kafka.config.TopicBuilder;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

/** Takes readings, and answers 202 when Kafka has all of them. */
@RestController
@Profile("api")
class TelemetryController {
  private final KafkaTemplate<String, Reading> kafka;
  private final String topic;

  TelemetryController(KafkaTemplate<String, Reading> kafka, @Value("${pipeline.topic}") String topic) {
    this.kafka = kafka;
    this.topic = topic;
  }

  @PostMapping("/api/v1/telemetry")
  CompletableFuture<ResponseEntity<Void>> post(
      @RequestBody @NotEmpty List<@Valid Reading> readings) {
    var sent =
        readings.stream()
            .map(reading -> kafka.send(topic, reading.deviceId(), reading))
            .toArray(CompletableFuture[]::new);
    return CompletableFuture.allOf(sent)
        .thenApply(all -> ResponseEntity.accepted().build());
  }

  @Bean
  static NewTopic telemetry(
      @Value("${pipeline.topic}") String topic, @Value("${pipeline.partitions}") int partitions) {
    return TopicBuilder.name(topic).partitions(partitions).build();
  }
}
