package confide.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** Gives every execution environment of this JVM the hardened settings; a program's own go on top, and are checked. */
final class ConfinedEnvironment extends StreamExecutionEnvironment {
  private ConfinedEnvironment() {}

  static void install(Configuration hardened) {
    initializeContextEnvironment(
        asked -> {
          Configuration configuration = new Configuration(hardened);
          configuration.addAll(asked);
          return new StreamExecutionEnvironment(configuration, Thread.currentThread().getContextClassLoader());
        });
  }
}
