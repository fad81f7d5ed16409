package confide.flink.kafka;

import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** What a Kafka client must be told, and what it may be told; everything else is refused, as much of it loads classes. */
final class ClientSettings {
  /** What it must be told. */
  private enum Required {
    PROTOCOL("security.protocol", "SSL|SASL_SSL", "SSL' or 'SASL_SSL"),
    TLS("ssl.enabled.protocols", "TLSv1\\.3", "TLSv1.3"),
    FORM("ssl.truststore.type", "PEM", "PEM"),
    AUTHORITY("ssl.truststore.location", "/app/(?!.*\\.\\.).+", "/app/...");

    final String name;
    final Pattern accepted;
    final String example;

    Required(String name, String accepted, String example) {
      this.name = name;
      this.accepted = Pattern.compile(accepted);
      this.example = example;
    }
  }

  private static final String LOGIN = "sasl.jaas.config";

  /** What it may be told, and with which values. */
  private static final Map<Pattern, Pattern> ALLOWED = Map.of(
      Pattern.compile("ssl\\.protocol"), Pattern.compile("TLSv1\\.3"),
      Pattern.compile("ssl\\.endpoint\\.identification\\.algorithm"), Pattern.compile("(?i)https"),
      Pattern.compile("sasl\\.mechanism"), Pattern.compile("PLAIN|SCRAM-SHA-256|SCRAM-SHA-512"),
      Pattern.compile(Pattern.quote(LOGIN)), Pattern.compile("\\s*" + Pattern.quote(SealedLogin.class.getName())
          + "\\s+required(\\s+[a-z-]+=\"[^\"\\\\;]*\")*\\s*;\\s*"),
      Pattern.compile("(key|value)\\.(de)?serializer"), Pattern.compile(".*\\.ByteArray(Des|S)erializer"));

  /** What it may be told with any value: numbers, names of its own, and what a reader takes. */
  private static final Pattern HARMLESS = Pattern.compile(
      "bootstrap\\.servers|client\\.(id|id\\.prefix|rack|dns\\.lookup)|group\\.(id|instance\\.id)|acks|retries|linger\\.ms"
          + "|(batch|buffer|connections|default\\.api|delivery|fetch|heartbeat|max|metadata|receive|reconnect|request|retry|send"
          + "|session|socket\\.connection)\\.[a-z.]+"
          + "|enable\\.(auto\\.commit|idempotence|metrics\\.push)|auto\\.(commit\\.interval\\.ms|offset\\.reset)|isolation\\.level"
          + "|allow\\.auto\\.create\\.topics|check\\.crcs|transaction\\.timeout\\.ms|transactional\\.id"
          + "|partition\\.discovery\\.interval\\.ms|commit\\.offsets\\.on\\.checkpoint|register\\.(consumer|producer)\\.metrics");

  private ClientSettings() {}

  /** Refuses settings of which one is missing, weakens, or is not known. */
  static void check(Properties client, Refusal refusal) {
    for (Required setting : Required.values()) {
      Object value = client.get(setting.name);
      refusal.unless(value instanceof String text && setting.accepted.matcher(text).matches(), "needs 'properties."
          + setting.name + "' = '" + setting.example + "'" + (value == null ? "" : ", and has another value")
          + ": brokers are reached over TLS 1.3, which verifies them by an authority that is a file of the program");
    }
    refusal.unless("SSL".equals(client.get(Required.PROTOCOL.name)) || client.containsKey(LOGIN),
        "logs in by SASL and has no 'properties." + LOGIN + "'");
    new TreeMap<>(client).forEach((name, value) -> checkOne(String.valueOf(name), value, refusal));
  }

  private static void checkOne(String name, Object value, Refusal refusal) {
    for (Required setting : Required.values()) {
      if (setting.name.equals(name)) {
        return;
      }
    }
    if (HARMLESS.matcher(name).matches()) {
      return;
    }
    Pattern accepted = ALLOWED.entrySet().stream().filter(rule -> rule.getKey().matcher(name).matches())
        .map(Map.Entry::getValue).findFirst().orElse(null);
    refusal.unless(accepted != null, "has 'properties." + name + "', which is not among what was found harmless");
    refusal.unless(value instanceof String text && accepted.matcher(text).matches(), name.equals(LOGIN)
        ? "has a 'properties." + LOGIN + "' other than '" + SealedLogin.class.getName()
            + " required username=\"...\" password-file=\"...\";': a password in a program is no secret"
        : "has a value of 'properties." + name + "' that would weaken the protection");
  }
}
