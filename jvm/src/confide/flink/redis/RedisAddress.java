package confide.flink.redis;

import confide.ConfideException;
import confide.SealedPassword;
import confide.flink.Outside;
import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.net.Socket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * Where a stream lies, and how to get there: TLS 1.3 that verifies certificate and name of the server, and a user of its
 * ACL, whose password is a sealed file.
 *
 * @param location of the stream, {@code rediss://host:port/NAME}, as the policy grants it
 * @param user of the ACL; null: the default one
 * @param passwordFile granted sealed file with the password; null: there is none
 * @param authority PEM of the server's authority, a file of the program below {@code /app}
 */
record RedisAddress(String location, String user, String passwordFile, String authority) implements Serializable {
  private static final Duration MAX_CALL = Duration.ofMinutes(2);

  String stream() {
    return location.substring(location.lastIndexOf('/') + 1);
  }

  /** Connects, and logs in. */
  Redis connect() throws IOException {
    URI uri = URI.create(location);
    Socket below = Outside.connect(uri.getHost(), uri.getPort());
    try {
      SSLSocket tls = verified(below, uri);
      Deadline.keep(MAX_CALL, below, () -> {
        tls.startHandshake();
        return tls;
      });
      Redis redis = new Redis(tls, below, MAX_CALL);
      if (passwordFile != null) {
        redis.call("AUTH", user == null ? "default" : user, SealedPassword.read(passwordFile));
      }
      return redis;
    } catch (IOException | RuntimeException e) {
      below.close();
      throw e;
    }
  }

  private SSLSocket verified(Socket socket, URI uri) throws IOException {
    try {
      SSLContext context = SSLContext.getInstance("TLSv1.3");
      context.init(null, trust().getTrustManagers(), null);
      SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(socket, uri.getHost(), uri.getPort(), true);
      SSLParameters parameters = tls.getSSLParameters();
      parameters.setProtocols(new String[] {"TLSv1.3"});
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      tls.setSSLParameters(parameters);
      return tls;
    } catch (GeneralSecurityException e) {
      throw new ConfideException("Misuse", authority + " is no certificate of an authority: " + e.getMessage());
    }
  }

  private TrustManagerFactory trust() throws GeneralSecurityException, IOException {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    try (InputStream in = Files.newInputStream(Path.of(authority))) {
      for (Certificate each : CertificateFactory.getInstance("X.509").generateCertificates(in)) {
        store.setCertificateEntry("authority-" + store.size(), each);
      }
    }
    TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(store);
    return trust;
  }
}
