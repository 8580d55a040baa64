import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import type { Server } from './availability';

/** As a distribution has it: `apt-get install chromium`. */
export const CHROMIUM: Server = {
  name: 'chromium',
  version: '112 or later',
  install: () => {
    try {
      execFileSync('chromium', ['--version'], { stdio: 'ignore' });
    } catch {
      throw new Error('chromium is not installed (apt-get install chromium)');
    }
    return 'chromium';
  },
};

const SWITCHES = [
  ...['--headless=new', '--disable-gpu', '--hide-scrollbars', '--disable-background-networking'],
  // Root has no sandbox, and a container little shared memory.
  ...['--no-sandbox', '--disable-dev-shm-usage'],
  // What the browser wants for itself stays on this machine, too.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];

/** A document as a browser has loaded it. */
export interface OpenedDocument {
  /** Its elements, written out after scripts have run. */
  readonly dom: string;
  /** What it asked for, as far as hosts and paths; its own address is `/`. */
  readonly requests: readonly string[];
}

/** A browser without windows, which knows nothing of earlier ones. */
export class Chromium {
  readonly #command: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'field-encryption-chromium-'));

  constructor(command: string) {
    this.#command = command;
  }

  /** Opens a document from a server, which has nothing else: paths in it would be requests as well. */
  async open(document: string): Promise<OpenedDocument> {
    const server = createServer((request, response) => {
      response.setHeader('content-type', 'text/html');
      response.writeHead(request.url === '/' ? 200 : 404).end(request.url === '/' ? document : '');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const origin = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    try {
      const log = this.#path('net-log.json');
      const dom = await this.#run(`--log-net-log=${log}`, '--dump-dom', `${origin}/`);
      return { dom, requests: requestsIn(readFileSync(log, 'utf8'), origin) };
    } finally {
      server.close();
    }
  }

  /** Prints a file as the browser's dialog would, and returns the PDF. */
  async print(document: string): Promise<Buffer> {
    const pdf = this.#path('printed.pdf');
    await this.#run(`--print-to-pdf=${pdf}`, this.#file(document));
    return readFileSync(pdf);
  }

  /** Returns the PNG of the top of a file in a window of some size. */
  async picture(document: string, width: number, height: number): Promise<Buffer> {
    const png = this.#path('picture.png');
    const size = `--window-size=${String(width)},${String(height)}`;
    await this.#run(`--screenshot=${png}`, size, this.#file(document));
    return readFileSync(png);
  }

  dispose(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #run(...args: readonly string[]): Promise<string> {
    const profile = `--user-data-dir=${this.#path('profile')}`;
    const { stdout } = await promisify(execFile)(this.#command, [...SWITCHES, profile, ...args], {
      maxBuffer: 2 ** 28,
      timeout: 60_000,
    });
    return stdout;
  }

  #file(document: string): string {
    writeFileSync(this.#path('document.html'), document);
    return pathToFileURL(this.#path('document.html')).href;
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

interface NetLog {
  readonly constants: { readonly logEventTypes: Readonly<Record<string, number>> };
  readonly events: readonly {
    readonly type: number;
    readonly params?: { readonly url?: string; readonly network_isolation_key?: string };
  }[];
}

/** Returns the addresses that documents of an origin asked for. The browser itself asks for others, and for an icon. */
function requestsIn(log: string, origin: string): string[] {
  const { constants, events } = JSON.parse(log) as NetLog;
  const started = constants.logEventTypes['URL_REQUEST_START_JOB'];
  if (started === undefined) throw new Error('The log of the browser has no requests.');
  return events
    .filter(({ type, params }) => type === started && isOf(params?.network_isolation_key, origin))
    .map(({ params }) => String(params?.url).replace(origin, ''))
    .filter((url) => url !== '/favicon.ico');
}

/** Whether a request is for a page of an origin: its key is the site, without the port. */
function isOf(key: string | undefined, origin: string): boolean {
  return key?.startsWith(origin.replace(/:\d+$/, ' ')) === true;
}
