package confide.flink.redis;

import java.net.Socket;
import java.time.Duration;

/** Asks a server once, and says what came of it: {@code port seconds}. */
final class Asks {
  public static void main(String[] words) throws Exception {
    try (Socket socket = new Socket("127.0.0.1", Integer.parseInt(words[0]));
        Redis redis = new Redis(socket, socket, Duration.ofSeconds(Integer.parseInt(words[1])))) {
      System.out.println("answered " + (redis.call("XREAD") != null));
    } catch (Exception e) {
      System.out.println(e.getMessage());
    }
  }
}
