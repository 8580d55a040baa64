import { typeormMajor } from '../support/databases';
import { blocksOf, readPage } from '../support/documentation';
import { createProject } from '../support/project';
import type { Project } from '../support/project';

/** What the command of NestJS makes, as far as the page imports it. */
const FRESH = {
  'tsconfig.json': JSON.stringify({
    compilerOptions: {
      ...{ module: 'nodenext', target: 'es2023', strict: true, types: ['node'] },
      ...{ experimentalDecorators: true, emitDecoratorMetadata: true, isolatedModules: true },
      ...{ strictPropertyInitialization: false, skipLibCheck: true },
      ...{ rootDir: 'src', outDir: 'dist' },
    },
    include: ['src'],
  }),
  'src/app.controller.ts': `
import { Controller, Get } from '@nestjs/common';
import { AppService } from './app.service.js';
@Controller()
export class AppController {
  constructor(private readonly appService: AppService) {}
  @Get()
  getHello(): string {
    return this.appService.getHello();
  }
}`,
  'src/app.service.ts': `
import { Injectable } from '@nestjs/common';
@Injectable()
export class AppService {
  getHello(): string {
    return 'Hello World!';
  }
}`,
};

/** Asks as the page does by curl. */
const STORY = `
import { NestFactory } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { AppModule } from './app.module.js';

async function tell(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error'] });
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const body = new URLSearchParams({ email: 'Ada@Example.org', ssn: '078-05-1120' });
  await fetch(url + '/patients', { method: 'POST', body });
  const found = await fetch(url + '/patients/ada@example.org');
  const [stored] = await app.get(DataSource).query('SELECT * FROM patient');
  console.log(JSON.stringify({ found: await found.json(), stored }));
  await app.close();
}

void tell();
`;

jest.setTimeout(180_000);

// Its `npm install` takes the newest TypeORM.
const describeOnce = typeormMajor === 1 ? describe : describe.skip;

describeOnce('The quick start of NestJS', () => {
  let project: Project;

  beforeAll(() => {
    project = createProject(typeormMajor);
    for (const [file, content] of Object.entries(FRESH)) project.write(file, content);
    for (const { file, content } of blocksOf(readPage('docs/nestjs.md'))) {
      if (file !== undefined) project.write(file, content);
    }
    project.write('src/story.ts', STORY);
  });
  afterAll(() => {
    project.dispose();
  });

  it('works in a fresh application', async () => {
    expect(await project.run('tsc', [])).toMatchObject({ code: 0, stdout: '' });
    project.write('.env', 'KEY_PASSPHRASE=a passphrase for fictional patients only\n');
    const { stdout, stderr } = await project.spawn('node', ['dist/story.js']);
    expect(stderr).toBe('');
    const { found, stored } = JSON.parse(stdout);
    expect(found).toEqual({ id: 1, email: 'Ada@Example.org', ssn: '078-05-1120' });
    expect(JSON.stringify(stored)).not.toMatch(/ada@|1120/i);
  });
});
