package confide.spark;

import confide.MutualTls;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.util.concurrent.TimeUnit;
import py4j.ClientServerConnection;
import py4j.Gateway;
import py4j.GatewayServer;
import py4j.PythonClient;
import py4j.Py4JPythonClientPerThread;
import py4j.Py4JServerConnection;

/**
 * Py4J's server with one thread of the JVM for each thread of Python, over mutual TLS.
 *
 * <p>{@code py4j.ClientServer} has a builder for socket factories but makes its Java server without the one for
 * listening sockets (0.10.9), which would leave the listener in plain TCP. This puts the same parts together.
 */
final class TlsGatewayServer extends GatewayServer {
  private final String token;

  private TlsGatewayServer(PythonClient python, MutualTls tls, String token) {
    super(null, 0, InetAddress.getLoopbackAddress(), 0, 0, null, python, tls.serverSockets());
    this.token = token;
  }

  /** A server on a free loopback port, not yet started; callers need the peer's certificate and the token. */
  static TlsGatewayServer create(MutualTls tls, String token) {
    PythonClient python =
        new PythonClient(
            null,
            null,
            0,
            InetAddress.getLoopbackAddress(),
            0,
            TimeUnit.SECONDS,
            tls.clientSockets(),
            null,
            true,
            0,
            null);
    TlsGatewayServer server = new TlsGatewayServer(python, tls, token);
    python.setGateway(server.getGateway());
    python.setJavaServer(server);
    server.getGateway().startup();
    return server;
  }

  @Override
  protected Py4JServerConnection createConnection(Gateway gateway, Socket socket) throws IOException {
    socket.setTcpNoDelay(true);
    ClientServerConnection connection =
        new ClientServerConnection(
            gateway,
            socket,
            getCustomCommands(),
            (Py4JPythonClientPerThread) getCallbackClient(),
            this,
            getReadTimeout(),
            token);
    connection.startServerConnection();
    return connection;
  }
}
