// A login service in Java that lets ticketd spend the ticket. Needs Java 17 or later, and no packages: java Login.java
// Environment: PORT, TICKETD (its URL), API_KEY (scope redeem).
//
// Sessions are kept in memory: use your own sessions here, and a JSON library in the place of text(). In production,
// run the service behind TLS, and give the cookie the attribute Secure and the prefix __Host-. Give API_KEY the brand
// below alone: two brands may have a username in common.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;

public class Login {
    static final String PORT = System.getenv("PORT"), TICKETD = System.getenv("TICKETD"),
        API_KEY = System.getenv("API_KEY"), BRAND = "commbox";
    static final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    static final Map<String, String> sessions = new ConcurrentHashMap<>();

    record Answer(int status, String json) {}

    static String random(int size) {
        var b = new byte[size];
        new SecureRandom().nextBytes(b);
        return HexFormat.of().formatHex(b);
    }

    /** Spends a ticket. Only status 200 lets the person in; with 503 nobody can tell now. If an answer gets lost,
        redeem repeats the request with the same binding, and ticketd gives the same answer. */
    static Answer redeem(String ticket) throws InterruptedException {
        var body = "{\"ticket\":\"%s\",\"audience\":\"agent\",\"binding\":\"%s\"}".formatted(ticket, random(16));
        var request = HttpRequest.newBuilder(URI.create(TICKETD + "/auth/redeem")).timeout(Duration.ofSeconds(3))
            .header("Authorization", "Bearer " + API_KEY).header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body)).build();
        for (int attempt = 1; ; attempt++) {
            try {
                var answer = client.send(request, BodyHandlers.ofString());
                return new Answer(answer.statusCode(), answer.body());
            } catch (IOException e) {
                if (attempt < 3) continue;
                System.err.println(e);
                return new Answer(503, "");
            }
        }
    }

    /** Returns a text of an object of ticketd's answer, such as username of agent, or "". */
    static String text(String json, String object, String name) {
        var from = json.indexOf("\"" + object + "\":{");
        var found = Pattern.compile("\"" + name + "\":\"((?:[^\"\\\\]|\\\\.)*)\"").matcher(json);
        return from >= 0 && found.find(from) ? found.group(1) : "";
    }

    /** Returns the ticket of a query, or null, or "" for what is no ticket. Some clients encode it twice. */
    static String ticketOf(String query) {
        var tickets = new ArrayList<String>();
        for (var pair : (query == null ? "" : query).split("&")) {
            if (pair.startsWith("ta=") || pair.startsWith("TA=")) tickets.add(pair.substring(3));
        }
        if (tickets.isEmpty()) return null;
        try {
            var ticket = URLDecoder.decode(tickets.get(0), StandardCharsets.UTF_8).replace("+", "%2B");
            ticket = URLDecoder.decode(ticket, StandardCharsets.UTF_8);
            return tickets.size() == 1 && ticket.matches("[A-Za-z0-9_-]+") ? ticket : "";
        } catch (IllegalArgumentException e) {
            return "";
        }
    }

    static void say(HttpExchange request, int status, String text) throws IOException {
        var body = (text + "\n").getBytes(StandardCharsets.UTF_8);
        request.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
        var isHead = request.getRequestMethod().equals("HEAD");
        request.sendResponseHeaders(status, isHead ? -1 : body.length);
        if (!isHead) request.getResponseBody().write(body);
    }

    static void enter(HttpExchange request) throws IOException, InterruptedException {
        var url = request.getRequestURI();
        var headers = request.getResponseHeaders();
        headers.set("Cache-Control", "no-store");
        headers.set("Referrer-Policy", "no-referrer");
        var ticket = ticketOf(url.getRawQuery());
        if (ticket == null) {
            var cookies = String.join("; ", request.getRequestHeaders().getOrDefault("Cookie", List.of()));
            var found = Pattern.compile("(?:^|; )session=([0-9a-f]{64})(?:;|$)").matcher(cookies);
            var user = found.find() ? sessions.get(found.group(1)) : null;
            if (user == null) say(request, 403, "Not signed in");
            else say(request, 200, "Signed in as " + user);
            return;
        }
        // Prefetches and previews spend nothing.
        var ahead = false;
        for (var name : new String[] {"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}) {
            var purpose = request.getRequestHeaders().getFirst(name);
            ahead |= purpose != null && purpose.toLowerCase().matches(".*(prefetch|prerender|preview).*");
        }
        if (ahead || !request.getRequestMethod().equals("GET")) {
            say(request, 503, "Open this link in a browser");
            return;
        }
        var answer = ticket.isEmpty() ? new Answer(403, "") : redeem(ticket);
        var id = text(answer.json, "data", "ticketId");
        switch (answer.status) {
            case 200 -> {
                if (!text(answer.json, "ticket", "brand").equals(BRAND)) {
                    throw new IOException("API_KEY is for other brands as well");
                }
                var session = random(32);
                sessions.put(session, text(answer.json, "agent", "username"));
                headers.set("Set-Cookie", "session=" + session + "; Path=/; HttpOnly; SameSite=Lax");
                headers.set("Location", url.getRawPath());
                request.sendResponseHeaders(303, -1);
            }
            case 403 -> {
                System.err.printf("ticket %s refused: %s%n", id.isEmpty() ? "(not one of ours)" : id,
                    answer.json.isEmpty() ? "empty" : text(answer.json, "data", "reason"));
                say(request, 403, "This link does not work any more");
            }
            case 503 -> say(request, 503, "Cannot check your link now. Try again in a moment.");
            default -> throw new IOException("ticketd answers " + answer.status + ": " + answer.json);
        }
    }

    static void answer(HttpExchange request) throws IOException {
        try (request) {
            try {
                enter(request);
            } catch (IOException | InterruptedException e) {
                System.err.println(e.getMessage());
                say(request, 500, "Something went wrong on our side");
            }
        }
    }

    public static void main(String[] args) throws IOException {
        if (PORT == null || TICKETD == null || API_KEY == null) {
            System.err.println("set PORT, TICKETD and API_KEY");
            System.exit(2);
        }
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(PORT)), 0);
        server.createContext("/", Login::answer);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}
