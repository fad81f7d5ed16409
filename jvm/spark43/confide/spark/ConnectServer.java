package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import java.io.ByteArrayInputStream;
import java.net.InetSocketAddress;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.connect.execution.ConnectProgressExecutionListener;
import org.apache.spark.sql.connect.service.SparkConnectInterceptorRegistry$;
import org.apache.spark.sql.connect.service.SparkConnectService;
import org.apache.spark.sql.connect.service.SparkConnectService$;
import org.sparkproject.connect.grpc.Server;
import org.sparkproject.connect.grpc.netty.GrpcSslContexts;
import org.sparkproject.connect.grpc.netty.NettyServerBuilder;
import scala.Option;
import scala.Some;
import scala.runtime.AbstractFunction0;

/**
 * Spark Connect over TLS 1.3.
 *
 * <p>Spark's own start ({@code SparkConnectService.start}) offers gRPC in clear only. This puts the same parts together,
 * with TLS, our tokens, and a look at each message.
 */
public final class ConnectServer implements ServerProcess.Server {
  private static final int MAX_MESSAGE_BYTES = 128 * 1024 * 1024; // as Spark's own, and its clients'
  private static final SparkConnectService$ SERVICE = SparkConnectService$.MODULE$;

  private ConnectServer() {}

  /** Runs until standard input ends. */
  public static void main(String[] args) throws Exception {
    ServerProcess.run(new ConnectServer());
  }

  @Override
  public int start(SparkSession session, JsonNode secret) throws Exception {
    org.apache.spark.sql.classic.SparkSession base = (org.apache.spark.sql.classic.SparkSession) session;
    SERVICE.sessionManager()
        .initializeBaseSession(
            new AbstractFunction0<>() {
              @Override
              public org.apache.spark.sql.classic.SparkSession apply() {
                return base.newSession();
              }
            });
    Pattern secrets = Pattern.compile(base.sparkContext().conf().get("spark.redaction.regex"));
    ClientMessages messages = new ClientMessages(secret.path("python_functions").asBoolean());
    NettyServerBuilder builder =
        NettyServerBuilder.forAddress(new InetSocketAddress(secret.path("host").asText(), secret.path("port").asInt()))
            .sslContext(tls(secret))
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .permitKeepAliveTime(SERVICE.GRPC_KEEPALIVE_PERMIT_TIME_SECONDS(), TimeUnit.SECONDS)
            .permitKeepAliveWithoutCalls(true);
    builder.addService(new SparkConnectService(false));
    // The last one added is the first one asked: tokens before all, messages as Spark's own have unpacked them.
    builder.intercept(new ClientInterceptor(messages, secrets));
    SparkConnectInterceptorRegistry$.MODULE$.chainInterceptors(builder);
    builder.intercept(new TokenInterceptor());
    Server server = builder.build().start();
    ConnectProgressExecutionListener progress = new ConnectProgressExecutionListener();
    base.sparkContext().addSparkListener(progress);
    SERVICE.executionListener_$eq(new Some<>(progress));
    SERVICE.listenerBus_$eq(base.sparkContext().listenerBus());
    SERVICE.server_$eq(server);
    SERVICE.bindingAddress_$eq((InetSocketAddress) server.getListenSockets().get(0));
    SERVICE.started_$eq(true);
    return server.getPort();
  }

  @Override
  public void stop() {
    SERVICE.stop(Option.empty(), Option.empty());
  }

  private static SslContext tls(JsonNode secret) throws Exception {
    CertificateFactory factory = CertificateFactory.getInstance("X.509");
    List<X509Certificate> chain = new ArrayList<>();
    for (JsonNode certificate : secret.path("certificates")) {
      chain.add((X509Certificate) factory.generateCertificate(new ByteArrayInputStream(der(certificate))));
    }
    SslContextBuilder builder = SslContextBuilder.forServer(key(secret), chain.toArray(new X509Certificate[0]));
    return GrpcSslContexts.configure(builder, SslProvider.JDK).protocols("TLSv1.3").build();
  }

  private static PrivateKey key(JsonNode secret) throws GeneralSecurityException {
    return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der(secret.path("key"))));
  }

  private static byte[] der(JsonNode text) {
    return Base64.getDecoder().decode(text.asText());
  }
}
