import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { typeormMajor } from './databases';
import type { TestDatabase } from './databases';
import { createProject } from './project';
import type { Project } from './project';

/** The beginning of a script: from here on, `seen` notes what is asked of threads. */
export const NOTED_THREADS = `
require('reflect-metadata');
const threads = require('node:worker_threads');
const seen = { started: 0, ready: 0, asked: 0, endedLoading: 0, living: new Set(), exits: [], onAsked: () => {} };
const loaded = new Set();
/** Node.js 20 aborts the process when it ends a thread just when that loads an ES module. */
const hasLoaded = ({ replies }) => loaded.has(replies);
threads.Worker = class extends threads.Worker {
  constructor(...args) {
    if (seen.refuse) throw new Error('no threads here');
    super(...args);
    seen.started += 1;
    this.replies = args[1].workerData;
    seen.living.add(this);
    seen.exits.push(new Promise((resolve) => this.once('exit', () => { seen.living.delete(this); resolve(); })));
  }
  postMessage(message) {
    seen.asked += 1;
    super.postMessage(message);
    seen.onAsked(this);
  }
  terminate() {
    if (!hasLoaded(this)) seen.endedLoading += 1;
    return super.terminate();
  }
};
threads.MessageChannel = class extends threads.MessageChannel {
  constructor() {
    super();
    this.port1.once('message', () => {
      seen.ready += 1;
      loaded.add(this.port2);
    });
    this.port1.unref();
  }
};
`;

/**
 * A script for a process of its own, as threads need compiled code. It finds a database in `DATABASE`
 * and a key in `KEY_FILE`, and writes its results as JSON.
 */
export class ThreadScript {
  #folder = '';
  #project: Project | undefined;

  /** To be called where hooks may be: the script is there for the tests of the file. */
  constructor(content: string) {
    beforeAll(() => {
      this.#folder = mkdtempSync(join(tmpdir(), 'field-encryption-threads-'));
      writeFileSync(this.#keyFile, randomBytes(32), { mode: 0o600 });
      this.#project = createProject(typeormMajor);
      this.#project.write('script.js', content);
    });
    afterAll(() => {
      this.#project?.dispose();
      rmSync(this.#folder, { recursive: true, force: true });
    });
  }

  get #keyFile(): string {
    return join(this.#folder, 'kek');
  }

  async run<Results>({ dataSourceOptions }: TestDatabase): Promise<Results> {
    const { code, output } = await this.#project!.run('node', ['script.js'], {
      DATABASE: JSON.stringify({ ...dataSourceOptions, synchronize: true }),
      KEY_FILE: this.#keyFile,
    });
    expect({ code, output: code === 0 ? '' : output }).toEqual({ code: 0, output: '' });
    return JSON.parse(output) as Results;
  }
}
