package confide.flink.kafka;

import confide.ConfideException;
import confide.SealedPassword;
import java.io.IOException;
import java.util.Map;
import javax.security.auth.Subject;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.login.LoginException;
import javax.security.auth.spi.LoginModule;

/**
 * A Kafka client's user and password, which is a sealed file that the program may read, for the mechanisms PLAIN and SCRAM:
 * {@code confide.flink.kafka.SealedLogin required username="flink" password-file="secrets/kafka/password";}.
 *
 * <p>Kafka's own modules take the password from the options of the table, which are part of the program.
 */
public final class SealedLogin implements LoginModule {
  private Subject subject;
  private Map<String, ?> options;

  @Override
  public void initialize(Subject subject, CallbackHandler handler, Map<String, ?> state, Map<String, ?> options) {
    this.subject = subject;
    this.options = options;
    KafkaClient.load("common.security.scram.ScramLoginModule"); // makes Java know the mechanism; PLAIN it knows
  }

  @Override
  public boolean login() throws LoginException {
    subject.getPublicCredentials().add(option("username"));
    try {
      subject.getPrivateCredentials().add(SealedPassword.read(option("password-file")));
    } catch (IOException e) {
      throw (LoginException) new LoginException(e.getMessage()).initCause(e);
    }
    return true;
  }

  private String option(String name) throws LoginException {
    if (options.get(name) instanceof String value) {
      return value;
    }
    throw new LoginException(new ConfideException("Misuse", "sasl.jaas.config has no " + name).getMessage());
  }

  @Override
  public boolean commit() {
    return true;
  }

  @Override
  public boolean abort() {
    return false;
  }

  @Override
  public boolean logout() {
    return true;
  }
}
