import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { ServerOptions } from 'node:https';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/** A request as it came over the wire. */
export interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** An answer to send. */
export interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  /** Sent as it is when it is text, else as JSON. */
  readonly body?: unknown;
}

/** What goes wrong with a call, in the place of the answer. */
export interface Fault extends Partial<Answer> {
  /** Only calls whose path holds it. */
  readonly on?: string;
  /** How many calls. Defaults to 1. */
  readonly times?: number;
  /** Cuts the connection: before the answer, or in the middle of it. */
  readonly cut?: 'before' | 'middle';
  /** Never answers. */
  readonly hang?: boolean;
  /** Answers properly, but with this done to the answer. */
  readonly change?: (answer: Answer) => Answer;
}

/** Serves a double of a KMS over real HTTP, with fail points. */
export class HttpDouble {
  readonly calls: Call[] = [];
  /** Stays when the server has stopped. */
  port = 0;
  readonly #answer: (call: Call) => Answer;
  readonly #server: Server;
  #faults: (Fault & { left: number })[] = [];

  constructor(answer: (call: Call) => Answer, tls?: ServerOptions) {
    this.#answer = answer;
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#serve(request, response);
    this.#server = tls === undefined ? createServer(listener) : createHttpsServer(tls, listener);
  }

  async start(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The next calls that match go wrong. */
  fail(fault: Fault): void {
    this.#faults.push({ ...fault, left: fault.times ?? 1 });
  }

  mend(): void {
    this.#faults = [];
  }

  /** Calls whose path holds the text. */
  callsTo(path: string): Call[] {
    return this.calls.filter((call) => call.path.includes(path));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const call: Call = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks).toString('utf8'),
    };
    this.calls.push(call);
    const fault = this.#faults.find(({ on = '', left }) => left > 0 && call.path.includes(on));
    if (fault !== undefined) fault.left -= 1;
    if (fault?.hang === true) return;
    if (fault?.cut === 'before') {
      request.socket.destroy();
      return;
    }
    const honest = (): Answer => this.#answer(call);
    const answer =
      fault === undefined || fault.cut === 'middle' ? honest() : distort(fault, honest);
    send(response, answer, fault?.cut === 'middle');
  }
}

function distort(fault: Fault, honest: () => Answer): Answer {
  if (fault.change !== undefined) return fault.change(honest());
  const { status = 500, headers = {}, body = {} } = fault;
  return { status, headers, body };
}

function send(response: ServerResponse, { status, headers, body }: Answer, cut: boolean): void {
  const text = typeof body === 'string' ? body : body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(text)),
    ...headers,
  });
  if (!cut) {
    response.end(text);
    return;
  }
  response.write(text.slice(0, Math.floor(text.length / 2)), () => response.socket?.destroy());
}
