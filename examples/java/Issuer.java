// A backend that knows its users. It asks ticketd for a ticket and sends the browser to the login service with the
// ticket. Needs Java 17 or later, and no packages: java Issuer.java
// Environment: PORT, TICKETD (its URL), API_KEY (scope issue), LOGIN_URL.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.regex.Pattern;

public class Issuer {
    static final String PORT = System.getenv("PORT"), TICKETD = System.getenv("TICKETD"),
        API_KEY = System.getenv("API_KEY"), LOGIN_URL = System.getenv("LOGIN_URL");
    static final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    static final Pattern TICKET = Pattern.compile("\"encpryptedString\":\"([A-Za-z0-9_-]+)\""); // spelt so

    static String ticketFor(String user) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(TICKETD + "/auth/ticket")).timeout(Duration.ofSeconds(3))
            .header("Authorization", "Bearer " + API_KEY).header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString("{\"data\":" + user + "}")).build();
        var answer = client.send(request, BodyHandlers.ofString());
        var ticket = TICKET.matcher(answer.body());
        if (answer.statusCode() != 200 || !ticket.find()) {
            throw new IOException(answer.statusCode() + ": " + answer.body());
        }
        return ticket.group(1);
    }

    /** Take the person from your own session here, and let a library write the JSON. */
    static String user(HttpExchange request) {
        return """
            {"brand": "commbox", "username": "john.d", "email": "john.d@gmail.com", "oneTimeUse": true}""";
    }

    static void answer(HttpExchange request) throws IOException {
        var headers = request.getResponseHeaders();
        try {
            headers.set("Location", LOGIN_URL + "?ta=" + ticketFor(user(request)));
            headers.set("Cache-Control", "no-store");
            headers.set("Referrer-Policy", "no-referrer");
            request.sendResponseHeaders(303, -1);
        } catch (IOException | InterruptedException e) {
            System.err.println(e); // no ticket came, so none is logged
            var text = "Cannot sign you in now. Try again later.\n".getBytes();
            headers.set("Content-Type", "text/plain");
            request.sendResponseHeaders(502, text.length);
            request.getResponseBody().write(text);
        } finally {
            request.close();
        }
    }

    public static void main(String[] args) throws IOException {
        if (PORT == null || TICKETD == null || API_KEY == null || LOGIN_URL == null) {
            System.err.println("set PORT, TICKETD, API_KEY and LOGIN_URL");
            System.exit(2);
        }
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(PORT)), 0);
        server.createContext("/", Issuer::answer);
        server.start();
    }
}
