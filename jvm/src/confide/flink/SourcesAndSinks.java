package confide.flink;

import confide.LaunchRefused;
import confide.flink.kafka.KafkaParts;
import java.io.IOException;
import java.io.ObjectOutputStream;
import java.io.OutputStream;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.flink.api.common.io.InputFormat;
import org.apache.flink.api.common.io.OutputFormat;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.streaming.api.functions.sink.legacy.SinkFunction;
import org.apache.flink.streaming.api.functions.source.legacy.SourceFunction;
import org.apache.flink.streaming.api.operators.StreamOperator;
import org.apache.flink.streaming.api.operators.StreamOperatorFactory;

/**
 * Finds what reads and writes for a job, however deep an operator holds it, and refuses what is not Flink's own, ours, or a
 * part of the Kafka connector that was proved: of other code in the program's jars nobody knows where it sends rows.
 *
 * <p>Flink gives operators to tasks by Java's serialization, so what a task will have is what is met in it.
 */
final class SourcesAndSinks extends ObjectOutputStream {
  private static final List<Class<?>> KINDS = List.of(Source.class, Sink.class, SourceFunction.class, SinkFunction.class,
      InputFormat.class, OutputFormat.class, StreamOperator.class, StreamOperatorFactory.class);
  private static final Pattern KNOWN = Pattern.compile("confide\\..+"
      + "|org\\.apache\\.flink\\.(?!connector\\.|streaming\\.connectors\\.).+"
      + "|org\\.apache\\.flink\\.connector\\.(base|blackhole|datagen|dsv2|file|print)\\..+");

  private final String operator;
  private final KafkaParts kafka;

  private SourcesAndSinks(String operator, KafkaParts kafka) throws IOException {
    super(OutputStream.nullOutputStream());
    this.operator = operator;
    this.kafka = kafka;
    enableReplaceObject(true);
  }

  /**
   * Looks through an operator.
   *
   * @param kafka takes its Kafka sources and sinks
   * @throws LaunchRefused naming what is at fault
   */
  static void check(StreamOperatorFactory<?> factory, String operator, KafkaParts kafka) throws IOException {
    try (SourcesAndSinks found = new SourcesAndSinks(operator, kafka)) {
      found.writeObject(factory);
    }
  }

  @Override
  protected Object replaceObject(Object part) throws IOException {
    String name = part.getClass().getName();
    if (KINDS.stream().anyMatch(kind -> kind.isInstance(part)) && !KNOWN.matcher(name).matches()
        && !kafka.check(part, operator)) {
      throw new LaunchRefused("the operator " + operator + " has a " + name + ": of sources, sinks and operators in jars "
          + "only the Kafka connector's source and sink are known here");
    }
    return part;
  }
}
