package confide.spark;

import confide.ConfideException;
import org.sparkproject.connect.grpc.Metadata;
import org.sparkproject.connect.grpc.ServerCall;
import org.sparkproject.connect.grpc.ServerCallHandler;
import org.sparkproject.connect.grpc.ServerInterceptor;
import org.sparkproject.connect.grpc.Status;

/** Refuses every call to Spark Connect that brings no live token, before anything of it is read. */
final class TokenInterceptor implements ServerInterceptor {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  private static final String BEARER = "Bearer ";

  @Override
  public <Q, A> ServerCall.Listener<Q> interceptCall(
      ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
    String given = headers.get(AUTHORIZATION);
    try {
      if (given != null && given.startsWith(BEARER) && Tokens.accept(given.substring(BEARER.length()))) {
        return next.startCall(call, headers);
      }
      call.close(Status.UNAUTHENTICATED.withDescription("not a token of this server"), new Metadata());
    } catch (ConfideException e) {
      call.close(Status.UNAVAILABLE.withDescription("tokens cannot be checked now"), new Metadata());
    }
    return new ServerCall.Listener<>() {};
  }
}
