package confide.flink.redis;

import confide.LaunchRefused;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.format.EncodingFormat;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.connector.source.SourceProvider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.factories.SerializationFormatFactory;
import org.apache.flink.table.types.DataType;

/** {@code 'connector' = 'confide-redis'}: streams of sealed records as sources and sinks, in any of Flink's formats for rows. */
public final class StreamTableFactory implements DynamicTableSourceFactory, DynamicTableSinkFactory {
  private static final String LOCATION = "rediss://[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[1-9][0-9]{0,4}/[A-Za-z0-9._:-]{1,128}";
  private static final ConfigOption<String> STREAM = ConfigOptions.key("stream").stringType().noDefaultValue()
      .withDescription("Location of the stream as the policy grants it: rediss://host:port/NAME.");
  private static final ConfigOption<String> CA = ConfigOptions.key("ca").stringType().noDefaultValue()
      .withDescription("PEM of the authority of Redis's certificate: a file of the program, /app/...");
  private static final ConfigOption<String> USERNAME = ConfigOptions.key("username").stringType().noDefaultValue()
      .withDescription("User of Redis's ACL.");
  private static final ConfigOption<String> PASSWORD_FILE =
      ConfigOptions.key("password-file").stringType().noDefaultValue()
          .withDescription("Path of the sealed file that holds the user's password.");
  private static final ConfigOption<String> STARTUP =
      ConfigOptions.key("scan.startup.mode").stringType().defaultValue("earliest-offset")
          .withDescription("earliest-offset: all, from each producer's first record; trimmed: what is left of a stream "
              + "that was trimmed; latest-offset: what comes from now on.");
  private static final ConfigOption<String> BOUNDED =
      ConfigOptions.key("scan.bounded.mode").stringType().defaultValue("unbounded")
          .withDescription("unbounded, or latest-offset: up to what is the newest entry at the start.");

  @Override
  public String factoryIdentifier() {
    return "confide-redis";
  }

  @Override
  public Set<ConfigOption<?>> requiredOptions() {
    return Set.of(STREAM, CA, FactoryUtil.FORMAT);
  }

  @Override
  public Set<ConfigOption<?>> optionalOptions() {
    return Set.of(USERNAME, PASSWORD_FILE, STARTUP, BOUNDED);
  }

  @Override
  public DynamicTableSource createDynamicTableSource(Context context) {
    FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
    DecodingFormat<DeserializationSchema<RowData>> format =
        helper.discoverDecodingFormat(DeserializationFormatFactory.class, FactoryUtil.FORMAT);
    helper.validate();
    ReadableConfig options = helper.getOptions();
    return new Read(address(options), range(options), format, context.getPhysicalRowDataType());
  }

  @Override
  public DynamicTableSink createDynamicTableSink(Context context) {
    FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
    EncodingFormat<SerializationSchema<RowData>> format =
        helper.discoverEncodingFormat(SerializationFormatFactory.class, FactoryUtil.FORMAT);
    helper.validate();
    return new Write(address(helper.getOptions()), format, context.getPhysicalRowDataType());
  }

  private static RedisAddress address(ReadableConfig options) {
    String location = options.get(STREAM);
    if (!location.matches(LOCATION)) {
      throw new LaunchRefused("stream=" + location + ": streams lie at rediss://host:port/NAME; without TLS that verifies "
          + "the server nothing is read or written");
    }
    String authority = options.get(CA);
    if (!authority.matches("/app/(?!.*\\.\\.).+")) {
      throw new LaunchRefused("ca=" + authority + " would weaken the protection: whoever has the storage would choose whom "
          + "to trust; give the authority of the Redis as a file of the program: /app/...");
    }
    return new RedisAddress(location, options.get(USERNAME), options.get(PASSWORD_FILE), authority);
  }

  private static StreamSource.Range range(ReadableConfig options) {
    String start = options.get(STARTUP);
    String end = options.get(BOUNDED);
    if (!Set.of("earliest-offset", "trimmed", "latest-offset").contains(start)) {
      throw new ValidationException(STARTUP.key() + " is earliest-offset, trimmed or latest-offset, not " + start);
    }
    if (!Set.of("unbounded", "latest-offset").contains(end)) {
      throw new ValidationException(BOUNDED.key() + " is unbounded or latest-offset, not " + end);
    }
    return new StreamSource.Range(
        start.equals("latest-offset"), end.equals("latest-offset"), start.equals("earliest-offset"));
  }

  private record Read(RedisAddress address, StreamSource.Range range, DecodingFormat<DeserializationSchema<RowData>> format,
      DataType row) implements ScanTableSource {
    @Override
    public ChangelogMode getChangelogMode() {
      return format.getChangelogMode();
    }

    @Override
    public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
      return SourceProvider.of(new StreamSource(address, range, format.createRuntimeDecoder(context, row)), 1);
    }

    @Override
    public DynamicTableSource copy() {
      return this;
    }

    @Override
    public String asSummaryString() {
      return "stream of sealed records";
    }
  }

  private record Write(RedisAddress address, EncodingFormat<SerializationSchema<RowData>> format, DataType row)
      implements DynamicTableSink {
    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
      return format.getChangelogMode();
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
      return SinkV2Provider.of(new StreamSink(address, format.createRuntimeEncoder(context, row)));
    }

    @Override
    public DynamicTableSink copy() {
      return this;
    }

    @Override
    public String asSummaryString() {
      return "stream of sealed records";
    }
  }
}
