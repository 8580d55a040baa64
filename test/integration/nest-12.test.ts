import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { companionsMissing } from '../support/companions';
import { typeormMajor } from '../support/databases';
import { createProject } from '../support/project';
import type { Project } from '../support/project';

const modules = join(__dirname, '..', 'companions', 'nest-12', 'node_modules');
const example = join(__dirname, '..', '..', 'examples', 'nest-clinic');
const missing = companionsMissing ?? (existsSync(modules) ? undefined : 'it is not installed');

const COMPILER_OPTIONS = {
  ...{ module: 'nodenext', target: 'es2022', strict: true, types: ['node'], rootDir: '.' },
  ...{ experimentalDecorators: true, emitDecoratorMetadata: true, isolatedModules: true },
  // The types are those of NestJS 11, with which `npm run typecheck` compiles the example.
  ...{ noCheck: true, skipLibCheck: true, outDir: 'dist' },
};

/** Starts the clinic, and prints what it responds with. */
const STORY = `
import 'reflect-metadata';
import { ValidationPipe } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { AppModule } from './clinic/app.module.js';

async function tell(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error'] });
  app.useGlobalPipes(new ValidationPipe({ transform: true, whitelist: true }));
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  let token = '';
  const ask = async (method: string, path: string, body?: object) => {
    const headers = { 'content-type': 'application/json', authorization: 'Bearer ' + token };
    const response = await fetch(url + path, { method, headers, body: JSON.stringify(body) });
    return { status: response.status, body: await response.json().catch(() => undefined) };
  };
  const staff = { email: 'staff@example.org', password: 'a password of staff' };
  await ask('POST', '/clinics', staff);
  token = (await ask('POST', '/login', staff)).body.token;
  await ask('POST', '/patients', { name: 'Ada', email: 'Ada@Example.org', ssn: '078-05-1120' });
  const [row] = await app.get(DataSource).query('SELECT email FROM patient');
  console.log(
    JSON.stringify({
      found: (await ask('GET', '/patients?email=ada@example.org')).body.items[0].email,
      sorted: await ask('GET', '/patients?sort=email'),
      stored: (await ask('POST', '/patients', { name: 'Bob', email: 'bob@example.org', ssn: '\\ud800' })).status,
      ready: (await ask('GET', '/health/ready')).body.details.encryption,
      isPlaintext: row.email === 'Ada@Example.org',
    }),
  );
  await app.close();
}

void tell();
`;

const describeOrSkip = missing === undefined ? describe : describe.skip;

describeOrSkip(
  `NestJS 12 ${missing === undefined ? '' : `cannot be tried: ${missing}`}`.trim(),
  () => {
    it.each(['module', 'commonjs'])(
      'runs the clinic as a project of the type %s',
      async (type) => {
        const project = createProject(typeormMajor);
        try {
          installNest12(project);
          project.write('package.json', JSON.stringify({ name: 'clinic', private: true, type }));
          project.write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER_OPTIONS }));
          cpSync(example, join(project.folder, 'clinic'), { recursive: true });
          project.write('story.ts', STORY);
          expect(await project.run('tsc', [])).toMatchObject({ code: 0, stdout: '' });
          const environment = {
            DATABASE_URL: 'clinic.db',
            KEY_PASSPHRASE: 'a passphrase for fictional patients only',
          };
          const { stdout, stderr } = await project.spawn('node', ['dist/story.js'], environment);
          expect(stderr).toBe('');
          expect(JSON.parse(stdout)).toEqual({
            found: 'Ada@Example.org',
            sorted: {
              status: 400,
              body: {
                statusCode: 400,
                error: 'Bad Request',
                message: 'The request cannot be sorted or filtered like this.',
              },
            },
            stored: 400,
            ready: { status: 'up', encryption: 'ok' },
            isPlaintext: false,
          });
          const command = ['-d', 'dist/clinic/data-source.js', 'status', '--fail-on-due', '--json'];
          const status = await project.spawn('field-encryption', command, environment);
          expect(status).toMatchObject({ code: 0, stderr: '' });
          // What the application counted before it closed.
          const { keys } = JSON.parse(status.stdout);
          expect(keys.map(({ useCount }: { useCount: number }) => useCount > 0)).toContain(true);
        } finally {
          project.dispose();
        }
      },
      240_000,
    );
  },
);

/** Puts NestJS 12 in the place of 11. What imports TypeORM is copied, so that it finds that of the project. */
function installNest12({ folder }: Project): void {
  const own = join(folder, 'node_modules');
  rmSync(join(own, '@nestjs'));
  mkdirSync(join(own, '@nestjs'));
  const nest = readdirSync(join(modules, '@nestjs')).map((name) => `@nestjs/${name}`);
  for (const name of [...nest, 'class-transformer', 'class-validator', 'rxjs']) {
    const copied = ['@nestjs/typeorm', '@nestjs/terminus'].includes(name);
    rmSync(join(own, name), { force: true });
    if (copied) cpSync(join(modules, name), join(own, name), { recursive: true });
    else symlinkSync(join(modules, name), join(own, name));
  }
}
