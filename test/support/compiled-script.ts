import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { typeormMajor } from './databases';
import type { TestDatabase } from './databases';
import { createProject } from './project';
import type { Project } from './project';

/**
 * A script for a process of its own, over the compiled library. It finds a database in `DATABASE`
 * and a key in `KEY_FILE`, and writes its results as JSON.
 */
export class CompiledScript {
  #folder = '';
  #project: Project | undefined;

  /** To be called where hooks may be: the script is there for the tests of the file. */
  constructor(content: string) {
    beforeAll(() => {
      this.#folder = mkdtempSync(join(tmpdir(), 'field-encryption-script-'));
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
