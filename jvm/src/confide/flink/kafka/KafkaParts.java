package confide.flink.kafka;

import confide.ConfideException;
import confide.LaunchRefused;
import confide.StreamGrant;
import java.lang.reflect.Field;
import java.util.Collection;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;

/**
 * Proves of each Kafka source and sink of a job that nothing but sealed values of a granted topic crosses to the brokers,
 * over TLS that verifies them. What cannot be proved is refused.
 *
 * <p>The connector is a jar of the program's, so its parts are looked at by reflection: as they are, after all options of a
 * table were read.
 */
public final class KafkaParts {
  private static final String CONNECTOR = "org.apache.flink.connector.kafka.";
  private static final String TABLES = "org.apache.flink.streaming.connectors.kafka.";
  private static final String SOURCE = CONNECTOR + "source.KafkaSource";
  private static final String SINK = CONNECTOR + "sink.KafkaSink";
  private static final String UNSEALED = "has values that are not sealed: give its table 'value.format' = '"
      + SealedFormatFactory.NAME + "', and what was its format as 'value." + SealedFormatFactory.NAME + ".format'";
  private static final String KEYS = "has a format for keys, which the brokers would read";
  private static final String UPSERTS = "is of upsert-kafka, whose keys the brokers would read";
  private static final String TOPICS =
      "has other topics than one: records are bound to the topic that the policy grants, so name it";

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
    requireClass(schema, TABLES + "table.DynamicKafkaDeserializationSchema", UNSEALED, refusal);
    if (!(field(schema, "valueDeserialization", refusal) instanceof RowOpener opener)) {
      throw refusal.because(UNSEALED);
    }
    refusal.unless(field(schema, "keyDeserialization", refusal) == null, KEYS);
    refusal.unless(Boolean.FALSE.equals(field(schema, "upsertMode", refusal)), UPSERTS);
    refusal.unless(Boolean.FALSE.equals(field(schema, "hasMetadata", refusal)), "has columns of metadata, which are the "
        + "brokers' word (a record's own are 'value." + RowOpener.PRODUCER + "' and 'value." + RowOpener.NUMBER + "')");
    Object subscriber = field(source, "subscriber", refusal);
    requireClass(subscriber, CONNECTOR + "source.enumerator.subscriber.TopicListSubscriber", TOPICS, refusal);
    granted(field(source, "props", refusal), field(subscriber, "topics", refusal), opener.location, false, refusal);
  }

  private void sink(Object sink, Refusal refusal) throws ConfideException {
    Object schema = field(sink, "recordSerializer", refusal);
    requireClass(schema, TABLES + "table.DynamicKafkaRecordSerializationSchema", UNSEALED, refusal);
    if (!(field(schema, "valueSerialization", refusal) instanceof RowSealer sealer)) {
      throw refusal.because(UNSEALED);
    }
    refusal.unless(field(schema, "keySerialization", refusal) == null, KEYS);
    refusal.unless(Boolean.FALSE.equals(field(schema, "upsertMode", refusal)), UPSERTS);
    refusal.unless(Boolean.FALSE.equals(field(schema, "hasMetadata", refusal)),
        "writes columns of metadata (headers, timestamp, topic), which the brokers would read");
    Object partitioner = field(schema, "partitioner", refusal);
    if (partitioner != null) {
      requireClass(partitioner, TABLES + "partitioner.FlinkFixedPartitioner",
          "has a partitioner of its own: by a record's partition the brokers would learn of what is in it", refusal);
    }
    refusal.unless(field(schema, "topicPattern", refusal) == null, TOPICS);
    Object client = field(sink, "kafkaProducerConfig", refusal);
    granted(client, field(schema, "topics", refusal), sealer.location, true, refusal);
  }

  private void granted(Object settings, Object topics, String location, boolean write, Refusal refusal)
      throws ConfideException {
    Properties client = (Properties) settings;
    String servers = client.getProperty("bootstrap.servers");
    refusal.unless(topics instanceof Collection<?> all && all.size() == 1
        && location(servers, String.valueOf(all.iterator().next())).equals(location), TOPICS);
    ClientSettings.check(client, refusal);
    StreamGrant.require(location, write);
    clients.put(servers, client);
  }

  private static void requireClass(Object part, String name, String reason, Refusal refusal) {
    refusal.unless(part.getClass().getName().equals(name), reason);
  }

  private static Object field(Object of, String name, Refusal refusal) {
    try {
      Field field = of.getClass().getDeclaredField(name);
      field.setAccessible(true);
      return field.get(of);
    } catch (ReflectiveOperationException | RuntimeException e) {
      throw refusal.because("is of a connector that is built otherwise than the one known here (4.0): "
          + of.getClass().getSimpleName() + " has no " + name);
    }
  }
}
