package confide;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ServerSocketFactory;
import javax.net.SocketFactory;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * TLS 1.3 between this JVM and the one Python driver that belongs to it.
 *
 * <p>Both certificates live for one run and are self-signed; each side trusts exactly the other's, so there is
 * no authority whose key could sign a third.
 */
public final class MutualTls {
  private static final String[] PROTOCOLS = {"TLSv1.3"};

  private final SSLContext context;

  /**
   * @param material fields {@code key} (PKCS #8), {@code certificate} and {@code peer} (X.509), base64 of DER.
   */
  public MutualTls(JsonNode material) throws GeneralSecurityException, IOException {
    PrivateKey key =
        KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der(material, "key")));
    KeyStore own = emptyStore();
    own.setKeyEntry("own", key, new char[0], new Certificate[] {certificate(material, "certificate")});
    KeyStore peer = emptyStore();
    peer.setCertificateEntry("peer", certificate(material, "peer"));

    KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    keys.init(own, new char[0]);
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(peer);
    context = SSLContext.getInstance("TLSv1.3");
    context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
  }

  private static byte[] der(JsonNode material, String field) {
    return Base64.getDecoder().decode(material.path(field).asText());
  }

  private static Certificate certificate(JsonNode material, String field) throws GeneralSecurityException {
    return CertificateFactory.getInstance("X.509")
        .generateCertificate(new ByteArrayInputStream(der(material, field)));
  }

  private static KeyStore emptyStore() throws GeneralSecurityException, IOException {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    return store;
  }

  /** Listening sockets that take only the peer's certificate. */
  public ServerSocketFactory serverSockets() {
    ServerSocketFactory plain = context.getServerSocketFactory();
    return new ServerSocketFactory() {
      @Override
      public ServerSocket createServerSocket() throws IOException {
        return guarded(plain.createServerSocket());
      }

      @Override
      public ServerSocket createServerSocket(int port) throws IOException {
        return guarded(plain.createServerSocket(port));
      }

      @Override
      public ServerSocket createServerSocket(int port, int backlog) throws IOException {
        return guarded(plain.createServerSocket(port, backlog));
      }

      @Override
      public ServerSocket createServerSocket(int port, int backlog, InetAddress address) throws IOException {
        return guarded(plain.createServerSocket(port, backlog, address));
      }
    };
  }

  private static ServerSocket guarded(ServerSocket socket) {
    SSLServerSocket tls = (SSLServerSocket) socket;
    tls.setEnabledProtocols(PROTOCOLS);
    tls.setNeedClientAuth(true);
    return tls;
  }

  /** Sockets towards the peer: its certificate and its address are checked. */
  public SocketFactory clientSockets() {
    SocketFactory plain = context.getSocketFactory();
    return new SocketFactory() {
      @Override
      public Socket createSocket() throws IOException {
        return checked(plain.createSocket());
      }

      @Override
      public Socket createSocket(String host, int port) throws IOException {
        return checked(plain.createSocket(host, port));
      }

      @Override
      public Socket createSocket(InetAddress host, int port) throws IOException {
        return checked(plain.createSocket(host, port));
      }

      @Override
      public Socket createSocket(String host, int port, InetAddress from, int fromPort) throws IOException {
        return checked(plain.createSocket(host, port, from, fromPort));
      }

      @Override
      public Socket createSocket(InetAddress host, int port, InetAddress from, int fromPort) throws IOException {
        return checked(plain.createSocket(host, port, from, fromPort));
      }
    };
  }

  private static Socket checked(Socket socket) throws IOException {
    SSLSocket tls = (SSLSocket) socket;
    tls.setTcpNoDelay(true);
    SSLParameters parameters = tls.getSSLParameters();
    parameters.setProtocols(PROTOCOLS);
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    tls.setSSLParameters(parameters);
    if (tls.isConnected()) {
      tls.startHandshake(); // Py4J repeats a failed write for ever; a failed connection it reports.
    }
    return tls;
  }
}
