package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import confide.AgentClient;
import confide.ConfideException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/** The tokens by which a server knows its clients, as the agent has them now: rotation and revocation change them. */
final class Tokens {
  private static final long FRESH_NS = 5_000_000_000L;

  private static JsonNode live;
  private static long asked;

  private Tokens() {}

  /** Whether this is a live token; takes the same time wherever a token differs. */
  static boolean accept(String token) throws ConfideException {
    byte[] given = token.getBytes(StandardCharsets.UTF_8);
    boolean found = false;
    for (JsonNode each : live()) {
      found |= MessageDigest.isEqual(each.asText().getBytes(StandardCharsets.UTF_8), given);
    }
    return found;
  }

  private static synchronized JsonNode live() throws ConfideException {
    if (live == null || System.nanoTime() - asked > FRESH_NS) {
      live = AgentClient.fromEnvironment().secret("tokens");
      asked = System.nanoTime();
    }
    return live;
  }
}
