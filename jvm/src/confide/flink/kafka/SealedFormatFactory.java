package confide.flink.kafka;

import confide.LaunchRefused;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.DelegatingConfiguration;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.format.EncodingFormat;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.factories.SerializationFormatFactory;
import org.apache.flink.table.types.DataType;

/**
 * {@code 'value.format' = 'confide-sealed', 'value.confide-sealed.format' = 'json'}: records of a topic of Kafka, each
 * sealed, with rows in any of Flink's formats for single rows.
 *
 * <p>A format knows neither its connector nor its offsets. That the table's other options put nothing beside the sealed
 * value is checked on the job ({@link KafkaParts}).
 */
public final class SealedFormatFactory implements DeserializationFormatFactory, SerializationFormatFactory {
  static final String NAME = "confide-sealed";
  private static final ConfigOption<String> FORMAT = ConfigOptions.key("format").stringType().noDefaultValue()
      .withDescription("Flink's format of a row: json, csv, raw or another.");
  private static final List<String> FORMATS =
      List.of("json", "csv", "raw", "avro", "debezium-json", "canal-json", "maxwell-json", "ogg-json");

  @Override
  public String factoryIdentifier() {
    return NAME;
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of(FORMAT);
  }

  /** Those of the format of a row, such as {@code json.ignore-parse-errors}. */
  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return FORMATS.stream().map(name -> ConfigOptions.key(name).mapType().noDefaultValue()).collect(Collectors.toSet());
  }

  @Override
  public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
      DynamicTableFactory.Context context, ReadableConfig options) {
    FactoryUtil.validateFactoryOptions(this, options);
    return new Opens(location(context), FactoryUtil.discoverFactory(context.getClassLoader(),
        DeserializationFormatFactory.class, options.get(FORMAT)).createDecodingFormat(context, ofRow(options)));
  }

  @Override
  public EncodingFormat<SerializationSchema<RowData>> createEncodingFormat(
      DynamicTableFactory.Context context, ReadableConfig options) {
    FactoryUtil.validateFactoryOptions(this, options);
    return new Seals(location(context), FactoryUtil.discoverFactory(context.getClassLoader(),
        SerializationFormatFactory.class, options.get(FORMAT)).createEncodingFormat(context, ofRow(options)));
  }

  private static ReadableConfig ofRow(ReadableConfig options) {
    return new DelegatingConfiguration((Configuration) options, options.get(FORMAT) + ".");
  }

  /** The location of the topic, as policies have it. */
  private static String location(DynamicTableFactory.Context context) {
    Map<String, String> table = context.getCatalogTable().getOptions();
    String topic = table.get("topic");
    if (!"kafka".equals(table.get("connector")) || topic == null || topic.contains(";")) {
      throw new LaunchRefused("the format " + NAME + " is for a table with 'connector' = 'kafka' and one 'topic': records "
          + "are bound to the topic that the policy grants");
    }
    return KafkaParts.location(table.get("properties.bootstrap.servers"), topic);
  }

  private static final class Opens implements DecodingFormat<DeserializationSchema<RowData>> {
    private static final Map<String, DataType> METADATA = new LinkedHashMap<>();

    static {
      METADATA.put(RowOpener.PRODUCER, DataTypes.STRING().notNull());
      METADATA.put(RowOpener.NUMBER, DataTypes.BIGINT().notNull());
    }

    private final String location;
    private final DecodingFormat<DeserializationSchema<RowData>> rows;
    private List<String> metadata = List.of();

    Opens(String location, DecodingFormat<DeserializationSchema<RowData>> rows) {
      this.location = location;
      this.rows = rows;
    }

    @Override
    public Map<String, DataType> listReadableMetadata() {
      return METADATA;
    }

    @Override
    public void applyReadableMetadata(List<String> keys) {
      metadata = List.copyOf(keys);
    }

    @Override
    public DeserializationSchema<RowData> createRuntimeDecoder(DynamicTableSource.Context context, DataType row) {
      List<DataTypes.Field> columns = Stream.concat(
          DataType.getFields(row).stream(),
          metadata.stream().map(key -> DataTypes.FIELD(key, METADATA.get(key)))).toList();
      return new RowOpener(location, rows.createRuntimeDecoder(context, row), metadata.toArray(String[]::new),
          DataType.getFieldCount(row), context.createTypeInformation(DataTypes.ROW(columns)));
    }

    @Override
    public ChangelogMode getChangelogMode() {
      return rows.getChangelogMode();
    }
  }

  private record Seals(String location, EncodingFormat<SerializationSchema<RowData>> rows)
      implements EncodingFormat<SerializationSchema<RowData>> {
    @Override
    public SerializationSchema<RowData> createRuntimeEncoder(DynamicTableSink.Context context, DataType row) {
      return new RowSealer(location, rows.createRuntimeEncoder(context, row));
    }

    @Override
    public ChangelogMode getChangelogMode() {
      return rows.getChangelogMode();
    }
  }
}
