package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import java.lang.reflect.Method;
import org.apache.hadoop.hive.conf.HiveConf;
import org.apache.hive.service.CompositeService;
import org.apache.hive.service.Service;
import org.apache.spark.SparkContext;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.hive.HiveUtils$;
import org.apache.spark.sql.hive.thriftserver.HiveThriftServer2;
import org.apache.spark.sql.hive.thriftserver.HiveThriftServer2$;
import org.apache.spark.sql.hive.thriftserver.SparkSQLCLIService;
import org.apache.spark.sql.hive.thriftserver.ui.HiveThriftServer2EventManager;

/**
 * Spark's server of SQL for JDBC and BI tools. TLS, certificate and tokens are among the hardened settings.
 *
 * <p>Spark's own start ({@code HiveThriftServer2.startWithSparkSession}) lets each session set properties of the JVM. This
 * puts the same parts together, with a look at what a session asks for.
 */
public final class SqlServer implements ServerProcess.Server {
  private HiveThriftServer2 server;

  private SqlServer() {}

  /** Runs until standard input ends. */
  public static void main(String[] args) throws Exception {
    ServerProcess.run(new SqlServer());
  }

  @Override
  public int start(SparkSession session, JsonNode secret) throws ReflectiveOperationException {
    // Hive asks for this class in a configuration of its own, which takes properties of the JVM and not of the session.
    System.setProperty("hive.server2.custom.authentication.class", TokenAuthentication.class.getName());
    SparkContext context = session.sparkContext();
    HiveConf configuration =
        HiveUtils$.MODULE$.newClientForExecution(context.conf(), session.sessionState().newHadoopConf()).conf();
    HiveThriftServer2$.MODULE$.eventManager_$eq(new HiveThriftServer2EventManager(context));
    server = new HiveThriftServer2(session);
    SparkSQLCLIService service = new SparkSQLCLIService(server, session);
    SqlSessions listening = new SqlSessions(service);
    Method add = CompositeService.class.getDeclaredMethod("addService", Service.class);
    add.setAccessible(true); // for subclasses; but Spark's own counts how far above it this class stands
    add.invoke(server, service);
    add.invoke(server, listening);
    server.initCompositeService(configuration);
    server.start();
    return listening.getPortNumber();
  }

  @Override
  public void stop() {
    server.stop();
  }
}
