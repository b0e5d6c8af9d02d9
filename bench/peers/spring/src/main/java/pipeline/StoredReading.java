package pipeline;

import jakarta.persistence.Column;
import jakarta.persistence.Embeddable;
import jakarta.persistence.EmbeddedId;
import jakarta.persistence.Entity;
import jakarta.persistence.Table;
import java.io.Serializable;
import org.springframework.data.domain.Persistable;

/** A row of the table of readings. */
@Entity
@Table(name = "readings")
class StoredReading implements Persistable<StoredReading.Key> {
  @Embeddable
  record Key(@Column(name = "device_id") String deviceId, @Column(name = "ts") long timestamp)
      implements Serializable {}

  @EmbeddedId private Key id;

  /** A JSON object of numbers by metric. */
  @Column(name = "metrics")
  private String metrics;

  protected StoredReading() {}

  StoredReading(Key id, String metrics) {
    this.id = id;
    this.metrics = metrics;
  }

  @Override
  public Key getId() {
    return id;
  }

  /** Never looked for first: a query for each row would cost more than storing it. */
  @Override
  public boolean isNew() {
    return true;
  }
}
