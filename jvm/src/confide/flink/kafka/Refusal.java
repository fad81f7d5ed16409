package confide.flink.kafka;

import confide.LaunchRefused;

/** Says of which source or sink something is wrong. */
record Refusal(String what) {
  LaunchRefused because(String reason) {
    return new LaunchRefused(what + " " + reason);
  }

  void unless(boolean holds, String reason) {
    if (!holds) {
      throw because(reason);
    }
  }
}
