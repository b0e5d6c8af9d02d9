package pipeline;

import java.util.List;
import org.springframework.context.annotation.Profile;
import org.springframework.dao.DataIntegrityViolationException;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.stereotype.Component;
import tools.jackson.databind.ObjectMapper;

/** Stores a batch in one transaction; Kafka's offsets are committed after it. */
@Component
@Profile("worker")
class ReadingWorker {
  private final StoredReadings stored;
  private final ObjectMapper json;

  ReadingWorker(StoredReadings stored, ObjectMapper json) {
    this.stored = stored;
    this.json = json;
  }

  @KafkaListener(topics = "${pipeline.topic}")
  void store(List<Reading> readings) {
    var rows = readings.stream().map(this::row).toList();
    try {
      stored.saveAll(rows);
    } catch (DataIntegrityViolationException redelivered) {
      for (var row : rows) if (!stored.existsById(row.getId())) stored.save(row);
    }
  }

  private StoredReading row(Reading reading) {
    var id = new StoredReading.Key(reading.deviceId(), reading.timestamp());
    return new StoredReading(id, json.writeValueAsString(reading.metrics()));
  }
}
