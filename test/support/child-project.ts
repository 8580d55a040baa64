import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ModuleKind, ScriptTarget, transpileModule } from 'typescript';

const root = join(__dirname, '..', '..');
const run = promisify(execFile);

/** What a command of a child process came to. */
export interface Outcome {
  readonly code: number;
  readonly output: string;
}

/**
 * A folder like that of an application: the library compiled to CommonJS and the TypeORM under test in
 * its node_modules, for tests that need processes of their own.
 */
export class ChildProject {
  readonly folder: string;
  readonly #typeorm: string;

  private constructor(folder: string, typeorm: string) {
    this.folder = folder;
    this.#typeorm = typeorm;
  }

  static create(): ChildProject {
    const folder = mkdtempSync(join(tmpdir(), 'field-encryption-project-'));
    const typeorm = dirname(require.resolve('typeorm'));
    const modules = join(folder, 'node_modules');
    mkdirSync(modules);
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (name.startsWith('.') || name === 'typeorm' || name === 'typeorm-0.3') continue;
      symlinkSync(join(root, 'node_modules', name), join(modules, name));
    }
    symlinkSync(typeorm, join(modules, 'typeorm'));
    const library = join(modules, 'typeorm-field-encryption');
    compile(join(root, 'src'), join(library, 'src'));
    compile(join(root, 'migrations'), join(library, 'migrations'));
    writeFileSync(join(library, 'package.json'), '{ "main": "src/index.js" }');
    return new ChildProject(folder, typeorm);
  }

  write(path: string, content: string): string {
    const file = join(this.folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  /** `typeorm <args>` of the major under test. */
  async typeorm(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
    return this.node([join(this.#typeorm, 'cli.js'), ...args], env);
  }

  async node(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
    const options = { cwd: this.folder, env: { ...process.env, ...env }, maxBuffer: 1 << 26 };
    try {
      const { stdout, stderr } = await run(process.execPath, [...args], options);
      return { code: 0, output: stdout + stderr };
    } catch (error) {
      const failed = error as { code?: number; stdout: string; stderr: string };
      return { code: failed.code ?? -1, output: failed.stdout + failed.stderr };
    }
  }

  start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
    return spawn(process.execPath, [...args], {
      cwd: this.folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function compile(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    if (entry.isDirectory()) compile(source, join(to, entry.name));
    else if (!entry.name.endsWith('.ts')) cpSync(source, join(to, entry.name));
    else {
      const { outputText } = transpileModule(readFileSync(source, 'utf8'), {
        compilerOptions: {
          target: ScriptTarget.ES2022,
          module: ModuleKind.CommonJS,
          experimentalDecorators: true,
          emitDecoratorMetadata: true,
          esModuleInterop: true,
        },
      });
      writeFileSync(join(to, entry.name.replace(/\.ts$/, '.js')), outputText);
    }
  }
}
