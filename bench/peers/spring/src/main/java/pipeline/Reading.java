package pipeline;

import jakarta.validation.constraints.NotBlank;
import jakarta.validation.constraints.NotEmpty;
import jakarta.validation.constraints.NotNull;
import jakarta.validation.constraints.Positive;
import jakarta.validation.constraints.Size;
import java.util.Map;

/** As it is sent, and as it is in Kafka; the time in epoch milliseconds. */
public record Reading(
    @NotBlank @Size(max = 128) String deviceId,
    @Positive long timestamp,
    @NotEmpty Map<String, @NotNull Double> metrics) {}
