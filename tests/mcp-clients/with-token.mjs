// Stands before `/mcp` for clients that cannot send a token: hands on what comes, with it.
// Arguments: port to listen on, port of the daemon, token.
import { createServer, request } from "node:http";

const [listen, port, token] = process.argv.slice(2);
createServer((asked, answer) => {
  const headers = { ...asked.headers, authorization: `Bearer ${token}` };
  const to = request({ host: "127.0.0.1", port, path: asked.url, method: asked.method, headers }, (got) => {
    answer.writeHead(got.statusCode, got.headers);
    got.pipe(answer);
  });
  to.on("error", () => answer.destroy());
  answer.on("close", () => to.destroy());
  asked.pipe(to);
}).listen(Number(listen), "127.0.0.1", () => process.stdout.write("ready\n"));
