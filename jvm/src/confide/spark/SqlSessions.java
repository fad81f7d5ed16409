package confide.spark;

import confide.LaunchRefused;
import java.util.Map;
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
  private static final String DATABASE = "use:database";
  private static final String VARIABLE = "set:hivevar:";
  private static final String SETTING = "set:hiveconf:";

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
    if (name.equals(DATABASE) || name.startsWith(VARIABLE)) {
      return;
    }
    if (!name.startsWith(SETTING)) {
      throw new LaunchRefused(name + ": a session sets its database, variables and settings, and nothing else");
    }
    Hardening.checkPresent(Map.of(name.substring(SETTING.length()), value));
  }
}
