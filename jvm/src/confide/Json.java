package confide;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * JSON in and out. Output is sorted by key and compact, which for our maps of plain ASCII strings, booleans
 * and integers is their canonical form (RFC 8785).
 */
final class Json {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().configure(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS, true);

  private Json() {}

  static ObjectMapper mapper() {
    return MAPPER;
  }

  static byte[] bytes(Map<String, ?> value) {
    try {
      return MAPPER.writeValueAsString(value).getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a map of plain values is always JSON", e);
    }
  }

  /** Parses an object; {@code what} names it in the error. The text itself is never quoted. */
  static JsonNode object(byte[] text, String what) throws ConfideException {
    try {
      JsonNode node = MAPPER.readTree(text);
      if (node == null || !node.isObject()) {
        throw new ConfideException("InvalidFormat", what + " is not a JSON object");
      }
      return node;
    } catch (ConfideException e) {
      throw e;
    } catch (java.io.IOException e) {
      throw new ConfideException("InvalidFormat", what + " is not JSON");
    }
  }

  /** A string field that must be there. */
  static String text(JsonNode node, String field, String what) throws ConfideException {
    JsonNode value = node.get(field);
    if (value == null || !value.isTextual()) {
      throw new ConfideException("InvalidFormat", what + " has no text '" + field + "'");
    }
    return value.asText();
  }
}
