import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { typeormMajor } from '../support/databases';
import { createProject } from '../support/project';
import type { Project } from '../support/project';

const example = join(__dirname, '..', '..', 'examples', 'clinic');
const CONFIG = {
  compilerOptions: {
    ...{ module: 'commonjs', target: 'es2022', esModuleInterop: true, rootDir: '.' },
    ...{ experimentalDecorators: true, emitDecoratorMetadata: true },
  },
};

jest.setTimeout(120_000);

describe('The example', () => {
  let project: Project;

  beforeAll(() => {
    project = createProject(typeormMajor);
    project.write('tsconfig.json', JSON.stringify(CONFIG));
    cpSync(example, join(project.folder, 'clinic'), {
      recursive: true,
      filter: (path) => !path.includes('.data'),
    });
  });
  afterAll(() => {
    project.dispose();
  });

  it('tells its story to the end, twice, and the file holds no plaintext', async () => {
    for (const { code, stdout, stderr } of [await run('main.ts'), await run('main.ts')]) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(/Found Misty Renner, misty\.renner42@example\.org\./);
      expect(stdout).toMatch(/Refused by the database: .*UNIQUE constraint failed/);
      expect(stdout).toMatch(
        /9,300 names, addresses and numbers looked for in [\d,]+ bytes: 0 found/,
      );
      expect(stdout).toContain('2,400 rows changed, 0 failed, 0 in conflict.');
      expect(stdout).toContain('2,400 of 2,400 rows equal the file.');
    }
  });

  it('has the records that its generator makes', async () => {
    expect(await run('generate-patients.ts')).toMatchObject({ code: 0 });
    const generated = readFileSync(join(project.folder, 'clinic', 'patients.csv'), 'utf8');
    expect(generated).toBe(readFileSync(join(example, 'patients.csv'), 'utf8'));
  });

  function run(file: string) {
    const tsNode = ['-r', 'ts-node/register/transpile-only'];
    return project.run('node', [...tsNode, `clinic/${file}`]);
  }
});
