package pipeline;

import org.springframework.data.jpa.repository.JpaRepository;

interface StoredReadings extends JpaRepository<StoredReading, StoredReading.Key> {}
