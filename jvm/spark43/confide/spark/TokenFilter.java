package confide.spark;

import confide.ConfideException;
import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

/**
 * How Spark's web pages know their viewers: the token is the password of Basic authentication (RFC 7617), whatever the
 * user, or a bearer token (RFC 6750).
 */
public final class TokenFilter implements Filter {
  private static final String BASIC = "Basic ";
  private static final String BEARER = "Bearer ";

  @Override
  public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
      throws IOException, ServletException {
    String token = token(((HttpServletRequest) request).getHeader("Authorization"));
    HttpServletResponse answer = (HttpServletResponse) response;
    try {
      if (token == null || !Tokens.accept(token)) {
        answer.setHeader("WWW-Authenticate", "Basic realm=\"confide\", charset=\"UTF-8\"");
        answer.sendError(HttpServletResponse.SC_UNAUTHORIZED);
        return;
      }
    } catch (ConfideException e) {
      answer.sendError(HttpServletResponse.SC_SERVICE_UNAVAILABLE);
      return;
    }
    chain.doFilter(request, response);
  }

  private static String token(String header) {
    if (header == null) {
      return null;
    }
    if (header.regionMatches(true, 0, BEARER, 0, BEARER.length())) {
      return header.substring(BEARER.length()).strip();
    }
    if (!header.regionMatches(true, 0, BASIC, 0, BASIC.length())) {
      return null;
    }
    try {
      byte[] pair = Base64.getDecoder().decode(header.substring(BASIC.length()).strip());
      String text = new String(pair, StandardCharsets.UTF_8);
      int colon = text.indexOf(':');
      return colon < 0 ? null : text.substring(colon + 1);
    } catch (IllegalArgumentException e) {
      return null;
    }
  }
}
