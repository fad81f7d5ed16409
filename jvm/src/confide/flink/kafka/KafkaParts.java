package confide.flink.kafka;

import confide.ConfideException;
import confide.LaunchRefused;
import confide.StreamGrant;
import java.lang.reflect.Field;
import java.util.Collection;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * Proves of each Kafka source and sink of a job that nothing but sealed values of a granted topic crosses to the brokers, over
 * TLS that verifies them. What cannot be proved is refused.
 *
 * <p>The connector is a jar of the program's, so its parts are looked at by reflection: as they are, after all options of a
 * table were read.
 */
public final class KafkaParts {
  private static final String CONNECTOR = "org.apache.flink.connector.kafka.";
  private static final String TABLES = "org.apache.flink.streaming.connectors.kafka.";
  private static final String SOURCE = CONNECTOR + "source.KafkaSource";
  private static final String SINK = CONNECTOR + "sink.KafkaSink";

  /** What a client must be told. */
  private static final Map<String, Pattern> REQUIRED = new TreeMap<>(Map.of(
      "security.protocol", Pattern.compile("SSL|SASL_SSL"),
      "ssl.enabled.protocols", Pattern.compile("TLSv1\\.3"),
      "ssl.truststore.type", Pattern.compile("PEM"),
      "ssl.truststore.location", Pattern.compile("/app/(?!.*\\.\\.).+")));

  /** What it may be told, with these values; for what has no value here, any. */
  private static final Map<String, Pattern> ALLOWED = new TreeMap<>(Map.of(
      "ssl.protocol", Pattern.compile("TLSv1\\.3"),
      "ssl.endpoint.identification.algorithm", Pattern.compile("(?i)https"),
      "sasl.mechanism", Pattern.compile("PLAIN|SCRAM-SHA-256|SCRAM-SHA-512"),
      "sasl.jaas.config",
      Pattern.compile("\\s*" + Pattern.quote(SealedLogin.class.getName()) + "\\s+required(\\s+[a-z-]+=\"[^\"\\\\;]*\")*\\s*;\\s*"),
      "(key|value)\\.(de)?serializer", Pattern.compile(".*\\.ByteArray(Des|S)erializer")));

  private static final Pattern TUNING = Pattern.compile(
      "bootstrap\\.servers|group\\.(id|instance\\.id)|client\\.(id|id\\.prefix|rack|dns\\.lookup)|acks|retries|linger\\.ms|"
          + "enable\\.(idempotence|auto\\.commit|metrics\\.push)|auto\\.(offset\\.reset|commit\\.interval\\.ms)|isolation\\.level|"
          + "(batch|buffer|fetch|heartbeat|max|metadata|reconnect|receive|request|retry|send|session|delivery|default\\.api|"
          + "connections|socket\\.connection)\\.[a-z.]+|transaction\\.timeout\\.ms|transactional\\.id|check\\.crcs|"
          + "allow\\.auto\\.create\\.topics|"
          + "partition\\.discovery\\.interval\\.ms|commit\\.offsets\\.on\\.checkpoint|register\\.(consumer|producer)\\.metrics");

  /** Of the parts that were proved: bootstrap servers -> the client's settings. */
  private final Map<String, Properties> clients = new TreeMap<>();

  static String location(String servers, String topic) {
    return "kafka://" + servers + "/" + topic;
  }

  /** Refuses clusters with brokers that no policy grants; keys can be used by now, which a client may need to log in. */
  public void requireWays() throws ConfideException {
    for (Properties client : clients.values()) {
      BrokerWays.requireAll(client);
    }
  }

  /**
   * Returns whether a source or sink is one of the Kafka connector that was proved; false: it is something else.
   *
   * @throws LaunchRefused it is a Kafka source or sink, and what is wrong with it
   */
  public boolean check(Object part, String operator) throws ConfideException {
    switch (part.getClass().getName()) {
      case SOURCE:
        source(part, new Refusal("the Kafka source " + operator));
        return true;
      case SINK:
        sink(part, new Refusal("the Kafka sink " + operator));
        return true;
      default:
        return false;
    }
  }

  private void source(Object source, Refusal refusal) throws ConfideException {
    Object schema = field(source, "deserializationSchema", refusal);
    refusal.unless(schema.getClass().getName().equals(TABLES + "table.DynamicKafkaDeserializationSchema")
        && field(schema, "valueDeserialization", refusal) instanceof RowOpener, UNSEALED);
    refusal.unless(field(schema, "keyDeserialization", refusal) == null, KEYS);
    refusal.unless(Boolean.FALSE.equals(field(schema, "hasMetadata", refusal)), "has columns of metadata, which are the brokers' "
        + "word (of a record's own there are 'value." + RowOpener.PRODUCER + "' and 'value." + RowOpener.NUMBER + "')");
    refusal.unless(Boolean.FALSE.equals(field(schema, "upsertMode", refusal)), UPSERTS);
    Object subscriber = field(source, "subscriber", refusal);
    refusal.unless(subscriber.getClass().getName().equals(CONNECTOR + "source.enumerator.subscriber.TopicListSubscriber"), TOPICS);
    String location = ((RowOpener) field(schema, "valueDeserialization", refusal)).location;
    proved((Properties) field(source, "props", refusal), field(subscriber, "topics", refusal), location, refusal);
    StreamGrant.require(location, false);
  }

  private void sink(Object sink, Refusal refusal) throws ConfideException {
    Object schema = field(sink, "recordSerializer", refusal);
    refusal.unless(schema.getClass().getName().equals(TABLES + "table.DynamicKafkaRecordSerializationSchema")
        && field(schema, "valueSerialization", refusal) instanceof RowSealer, UNSEALED);
    refusal.unless(field(schema, "keySerialization", refusal) == null, KEYS);
    refusal.unless(Boolean.FALSE.equals(field(schema, "hasMetadata", refusal)),
        "writes columns of metadata (headers, timestamp, topic), which the brokers would read");
    refusal.unless(Boolean.FALSE.equals(field(schema, "upsertMode", refusal)), UPSERTS);
    refusal.unless(field(schema, "topicPattern", refusal) == null, TOPICS);
    Object partitioner = field(schema, "partitioner", refusal);
    refusal.unless(partitioner == null
        || partitioner.getClass().getName().equals(TABLES + "partitioner.FlinkFixedPartitioner"),
        "has a partitioner of its own: by a record's partition the brokers would learn of what is in it");
    String location = ((RowSealer) field(schema, "valueSerialization", refusal)).location;
    proved((Properties) field(sink, "kafkaProducerConfig", refusal), field(schema, "topics", refusal), location, refusal);
    StreamGrant.require(location, true);
  }

  private static final String UNSEALED = "has values that are not sealed: give its table 'value.format' = '"
      + SealedFormatFactory.NAME + "', and what was its format as 'value." + SealedFormatFactory.NAME + ".format'";
  private static final String KEYS = "has a format for keys, which the brokers would read";
  private static final String UPSERTS = "is of upsert-kafka, whose keys the brokers would read";
  private static final String TOPICS = "has a pattern for topics: records are bound to the topic that the policy grants, so name one";

  private void proved(Properties client, Object topics, String location, Refusal refusal) {
    refusal.unless(topics instanceof Collection<?> all && all.size() == 1 && location(
        client.getProperty("bootstrap.servers"), String.valueOf(all.iterator().next())).equals(location), TOPICS);
    REQUIRED.forEach((name, accepted) -> {
      Object value = client.get(name);
      refusal.unless(value instanceof String text && accepted.matcher(text).matches(), "needs 'properties." + name + "' = '"
          + example(name) + "'" + (value == null ? "" : ", and has another value") + ": the brokers are reached over TLS 1.3 "
          + "that verifies them by an authority which is a file of the program");
    });
    refusal.unless(!"SASL_SSL".equals(client.get("security.protocol")) || client.containsKey("sasl.jaas.config"),
        "logs in by SASL and has no 'properties.sasl.jaas.config'");
    for (Map.Entry<Object, Object> property : new TreeMap<>(client).entrySet()) {
      String name = String.valueOf(property.getKey());
      if (REQUIRED.containsKey(name) || TUNING.matcher(name).matches()) {
        continue;
      }
      Pattern accepted = ALLOWED.entrySet().stream().filter(rule -> name.matches(rule.getKey()))
          .map(Map.Entry::getValue).findFirst().orElse(null);
      refusal.unless(accepted != null, "has 'properties." + name + "', which is not among what was found harmless");
      refusal.unless(property.getValue() instanceof String text && accepted.matcher(text).matches(),
          name.equals("sasl.jaas.config")
              ? "has a 'properties.sasl.jaas.config' other than '" + SealedLogin.class.getName()
                  + " required username=\"...\" password-file=\"...\";': a password in a program is no secret"
              : "has a value of 'properties." + name + "' that would weaken the protection");
    }
    clients.put(client.getProperty("bootstrap.servers"), client);
  }

  private static String example(String name) {
    return switch (name) {
      case "security.protocol" -> "SSL' or 'SASL_SSL";
      case "ssl.enabled.protocols" -> "TLSv1.3";
      case "ssl.truststore.type" -> "PEM";
      default -> "/app/...";
    };
  }

  private static Object field(Object of, String name, Refusal refusal) {
    try {
      Field field = of.getClass().getDeclaredField(name);
      field.setAccessible(true);
      return field.get(of);
    } catch (ReflectiveOperationException | RuntimeException e) {
      throw refusal.because("is of a connector that is built otherwise than the ones known here (4.0 and 5.0): "
          + of.getClass().getSimpleName() + " has no " + name);
    }
  }

  private record Refusal(String what) {
    LaunchRefused because(String reason) {
      return new LaunchRefused(what + " " + reason);
    }

    void unless(boolean holds, String reason) {
      if (!holds) {
        throw because(reason);
      }
    }
  }
}
