package confide.spark;

import confide.LaunchRefused;
import java.util.Arrays;
import org.apache.spark.SparkContext;
import org.apache.spark.ui.JettyUtils;
import org.apache.spark.ui.ServerInfo;
import org.sparkproject.jetty.server.Connector;
import org.sparkproject.jetty.server.Server;
import org.sparkproject.jetty.server.SslConnectionFactory;

/** Spark's web pages: served by TLS alone, and where they were asked for. */
final class WebPages {
  private WebPages() {}

  /**
   * Closes the plain port that Spark opens beside that of TLS, for redirects: a viewer's token would cross it in clear.
   *
   * @throws LaunchRefused when anything else than TLS at that port is left.
   */
  static void close(SparkContext context) {
    if (context.ui().isEmpty()) {
      return;
    }
    ServerInfo info = context.ui().get().serverInfo().get();
    Server server = info.server();
    for (Connector each : server.getConnectors()) {
      if (JettyUtils.REDIRECT_CONNECTOR_NAME().equals(each.getName())) {
        try {
          each.stop();
        } catch (Exception e) {
          throw new LaunchRefused("spark.ui.port does not close");
        }
        server.removeConnector(each);
      }
    }
    if (!Arrays.stream(server.getConnectors())
        .allMatch(each -> each.getConnectionFactory(SslConnectionFactory.class) != null)) {
      throw new LaunchRefused("spark.ssl.ui.enabled: something else than TLS is left");
    }
    String asked = context.conf().get("spark.ssl.ui.port");
    if (!info.securePort().map(String::valueOf).contains(asked)) {
      throw new LaunchRefused("spark.ssl.ui.port: " + asked + " is taken; ask for other web pages");
    }
  }
}
