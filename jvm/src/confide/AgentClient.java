package confide;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Talks to the agent, the first process in the enclave, over its Unix socket: one request a connection, one
 * line of JSON each way.
 *
 * <p>Keys come this way and no other: not by argument, environment, property or file.
 */
public final class AgentClient {
  private static final int MAX_BYTES = 64 * 1024 * 1024;

  private final String socket;

  public AgentClient(String socket) {
    this.socket = socket;
  }

  /** The agent named by the system property {@code confide.agent}, else the environment's CONFIDE_AGENT. */
  public static AgentClient fromEnvironment() throws ConfideException {
    String socket = System.getProperty("confide.agent", System.getenv("CONFIDE_AGENT"));
    if (socket == null || socket.isEmpty()) {
      throw new ConfideException("NoGrant", "no agent here: this process was not started by confide");
    }
    return new AgentClient(socket);
  }

  /** Everything the agent says about this workload: {@code release}, {@code root}, {@code scratch}. */
  public JsonNode release() throws ConfideException {
    return call(Json.mapper().createObjectNode().put("op", "release"));
  }

  /** The release as policies and listings have it now. */
  public JsonNode refresh() throws ConfideException {
    return call(Json.mapper().createObjectNode().put("op", "refresh"));
  }

  /** A secret made for this run only, such as the gateway's. */
  public JsonNode secret(String name) throws ConfideException {
    return call(Json.mapper().createObjectNode().put("op", "secret").put("name", name)).path("secret");
  }

  /** Asks the broker to make {@code files} the complete new content of a location. */
  public JsonNode commit(String location, String table, long baseSerial, List<ListedFile> files)
      throws ConfideException {
    ObjectNode request = Json.mapper().createObjectNode();
    request.put("op", "commit").put("location", location).put("table", table).put("base_serial", baseSerial);
    ArrayNode list = request.putArray("files");
    for (ListedFile file : files) {
      list.addObject().put("path", file.path()).put("size", file.size()).put("binding", file.binding());
    }
    return call(request);
  }

  /** Tells where this job's driver listens, for whoever starts its executors. */
  public void announce(String driver, String application) throws ConfideException {
    call(Json.mapper().createObjectNode().put("op", "announce").put("driver", driver).put("application", application));
  }

  private JsonNode call(ObjectNode request) throws ConfideException {
    byte[] answer;
    try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      ByteBuffer line = ByteBuffer.wrap((request + "\n").getBytes(StandardCharsets.UTF_8));
      while (line.hasRemaining()) {
        channel.write(line);
      }
      answer = readLine(channel);
    } catch (ConfideException e) {
      throw e;
    } catch (IOException e) {
      throw new ConfideException("BrokerUnavailable", "the agent does not answer: " + e.getMessage());
    }
    JsonNode reply = Json.object(answer, "the agent's answer");
    if (reply.has("error")) {
      throw new ConfideException(reply.path("error").asText("Refused"), reply.path("message").asText());
    }
    return reply;
  }

  private static byte[] readLine(SocketChannel channel) throws IOException {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    ByteBuffer part = ByteBuffer.allocate(64 * 1024);
    while (channel.read(part) >= 0) {
      all.write(part.array(), 0, part.position());
      if (all.size() > MAX_BYTES) {
        throw new ConfideException("InvalidFormat", "the agent's answer is larger than 64 MiB");
      }
      if (part.position() > 0 && part.get(part.position() - 1) == '\n') {
        break;
      }
      part.clear();
    }
    return all.toByteArray();
  }
}
