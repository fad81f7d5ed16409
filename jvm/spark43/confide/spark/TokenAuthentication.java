package confide.spark;

import confide.ConfideException;
import javax.security.sasl.AuthenticationException;
import org.apache.hive.service.auth.PasswdAuthenticationProvider;

/** How a server of SQL knows its clients: the password is the token; the user's name says nothing. */
public final class TokenAuthentication implements PasswdAuthenticationProvider {
  @Override
  public void Authenticate(String user, String password) throws AuthenticationException {
    try {
      if (Tokens.accept(password)) {
        return;
      }
    } catch (ConfideException e) {
      throw new AuthenticationException("tokens cannot be checked now");
    }
    throw new AuthenticationException("not a token of this server");
  }
}
