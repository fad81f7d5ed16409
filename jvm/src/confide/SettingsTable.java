package confide;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * An engine's hardened settings, and the refusal, by name, of those that differ.
 *
 * <p>The table itself is Python's ({@code confide/jvm/settings.py}); it arrives through the agent's socket.
 */
public final class SettingsTable {
  private record Fixed(Pattern accepted, String reason) {
    boolean accepts(String value) {
      return value != null && accepted.matcher(value).matches();
    }
  }

  private record Forbidden(Pattern name, String reason) {}

  // Spark's options are the same in any case; its settings are not, and nobody needs others in another case.
  private final Map<String, Fixed> fixed = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
  private final List<Forbidden> forbidden = new ArrayList<>();

  /** Takes {@code fixed} {name, accepts, reason} and {@code forbidden} {name, reason}; regular expressions. */
  public SettingsTable(JsonNode settings) {
    for (JsonNode row : settings.path("fixed")) {
      Pattern accepted = Pattern.compile(row.path("accepts").asText());
      fixed.put(row.path("name").asText(), new Fixed(accepted, row.path("reason").asText()));
    }
    for (JsonNode row : settings.path("forbidden")) {
      Pattern name = Pattern.compile(row.path("name").asText(), Pattern.CASE_INSENSITIVE);
      forbidden.add(new Forbidden(name, row.path("reason").asText()));
    }
    if (fixed.isEmpty()) {
      throw new LaunchRefused("the agent gave no hardened settings");
    }
  }

  /**
   * Refuses a configuration that differs from the table.
   *
   * @param actual the whole configuration
   * @param prefix what a name may leave out in front; "" if nothing
   * @throws LaunchRefused naming the first setting at fault, in the order of the names.
   */
  public void check(Map<String, String> actual, String prefix) {
    fixed.forEach(
        (name, rule) -> {
          if (!rule.accepts(actual.get(name))) {
            throw refusal(name, actual.get(name), rule.reason);
          }
        });
    checkPresent(actual, prefix);
  }

  /** Refuses settings of which a fixed one, whose name starts so, is absent: unset, it would be the engine's default. */
  public void checkComplete(Map<String, String> actual, String start) {
    fixed.forEach(
        (name, rule) -> {
          if (name.startsWith(start) && !rule.accepts(actual.get(name))) {
            throw refusal(name, actual.get(name), rule.reason);
          }
        });
  }

  /** Whether a setting of this name is among the fixed ones. */
  public boolean fixes(String name) {
    return fixed.containsKey(name);
  }

  /** Refuses settings that contradict the table; absent ones are in order. */
  public void checkPresent(Map<String, String> actual, String prefix) {
    actual.forEach(
        (name, value) -> {
          for (String full : List.of(name, prefix + name)) {
            Fixed rule = fixed.get(full);
            if (rule != null) {
              if (!rule.accepts(value)) {
                throw refusal(name, value, rule.reason);
              }
              return;
            }
          }
          for (Forbidden rule : forbidden) {
            if (rule.name.matcher(name).matches() || rule.name.matcher(prefix + name).matches()) {
              throw refusal(name, value, rule.reason);
            }
          }
        });
  }

  private static LaunchRefused refusal(String name, String value, String reason) {
    return new LaunchRefused(
        (value == null ? "unsetting " + name : name + "=" + value) + " would weaken the protection: " + reason);
  }
}
