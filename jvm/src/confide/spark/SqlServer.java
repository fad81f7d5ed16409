package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import org.apache.hive.service.Service;
import org.apache.hive.service.cli.thrift.ThriftCLIService;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.hive.thriftserver.HiveThriftServer2;
import org.apache.spark.sql.hive.thriftserver.HiveThriftServer2$;

/** Spark's server of SQL for JDBC and BI tools. TLS, certificate and tokens are among the hardened settings. */
public final class SqlServer implements ServerProcess.Server {
  private HiveThriftServer2 server;

  private SqlServer() {}

  /** Runs until standard input ends. */
  public static void main(String[] args) throws Exception {
    ServerProcess.run(new SqlServer());
  }

  @Override
  public int start(SparkSession session, JsonNode secret) {
    server = HiveThriftServer2$.MODULE$.startWithSparkSession(session, false);
    for (Service service : server.getServices()) {
      if (service instanceof ThriftCLIService listening) {
        return listening.getPortNumber();
      }
    }
    throw new IllegalStateException("the server of SQL does not listen");
  }

  @Override
  public void stop() {
    server.stop();
  }
}
