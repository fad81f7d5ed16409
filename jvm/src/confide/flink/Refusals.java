package confide.flink;

import confide.ConfideException;
import java.util.Set;
import org.apache.flink.runtime.execution.SuppressRestartsException;

/** Which failures of a job's sources and sinks are for good. */
public final class Refusals {
  /** What {@code confide.errors} calls unavailable, but for what is not installed, and a broker that is another. */
  private static final Set<String> PASSING = Set.of(
      "Unavailable", "BrokerUnavailable", "StorageUnavailable", "CollateralUnavailable",
      "ProviderUnavailable", "Conflict");

  private Refusals() {}

  /** A refusal, which trying again would not change; what is only not there now is no refusal. */
  public static RuntimeException lasting(ConfideException error) {
    if (PASSING.contains(error.kind())) {
      throw ConfideException.<RuntimeException>sneak(error);
    }
    return new SuppressRestartsException(error);
  }
}
