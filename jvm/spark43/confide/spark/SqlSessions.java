package confide.spark;

import confide.LaunchRefused;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.hive.service.cli.CLIService;
import org.apache.hive.service.cli.HiveSQLException;
import org.apache.hive.service.cli.thrift.ThriftBinaryCLIService;
import org.apache.hive.service.rpc.thrift.TOpenSessionReq;
import org.apache.hive.service.rpc.thrift.TOpenSessionResp;
import org.apache.thrift.TException;

/**
 * What a session of a SQL server may set as it opens: its database, variables, and settings that weaken nothing.
 *
 * <p>Hive takes more there: properties of the JVM ({@code set:system:}), which all sessions share, and its own.
 */
final class SqlSessions extends ThriftBinaryCLIService {
  private static final String SETTING = "set:hiveconf:";
  private static final Pattern TAKEN =
      Pattern.compile(
          "use:database|set:hivevar:[0-9A-Za-z_]+|"
              + SETTING
              + "(spark\\.sql\\..+|hive\\.server2\\.thrift\\.resultset\\.default\\.fetch\\.size)");

  SqlSessions(CLIService service) {
    super(service);
  }

  @Override
  public TOpenSessionResp OpenSession(TOpenSessionReq request) throws TException {
    try {
      if (request.isSetConfiguration()) {
        request.getConfiguration().forEach(SqlSessions::check);
      }
    } catch (LaunchRefused e) {
      TOpenSessionResp refused = new TOpenSessionResp();
      refused.setStatus(HiveSQLException.toTStatus(new HiveSQLException(e.toString(), "42000")));
      return refused;
    }
    return super.OpenSession(request);
  }

  private static void check(String name, String value) {
    if (value.contains("${")) {
      throw new LaunchRefused(name + ": its value would be put together from what this process holds");
    }
    if (!TAKEN.matcher(name).matches()) {
      throw new LaunchRefused(name + ": a session sets its database, variables and settings of SQL, and nothing else");
    }
    if (name.startsWith(SETTING)) {
      Hardening.checkPresent(Map.of(name.substring(SETTING.length()), value));
    }
  }
}
