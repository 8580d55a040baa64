import { RunPlanError } from '../../../src';
import { parseJob } from '../../../src/reencryption/queue/run-job';

const JOB = { share: 'range', run: 'a'.repeat(32), mode: 'reencrypt', columns: ['Entry.text'] };

describe('parseJob', () => {
  it('reads what a run has put into the queue', () => {
    expect(parseJob({ ...JOB, batchSize: 10 })).toEqual({ ...JOB, batchSize: 10 });
  });

  it.each([
    ['null', 'null'],
    ['a text', '"range"'],
    ['a number', '5'],
    ['a list', '[1]'],
    ['nothing', '{}'],
    ['a run of another form', JSON.stringify({ ...JOB, run: '1; DROP TABLE entry' })],
    ['a negative number', JSON.stringify({ ...JOB, batchSize: -1 })],
    ['columns that are none', JSON.stringify({ ...JOB, columns: [{}] })],
    ['a constructor', '{"constructor":null}'],
    ['a prototype', '{"__proto__":{"share":"range"}}'],
    ['SQL of its own', JSON.stringify({ ...JOB, first: { Entry: '1 = 1' } })],
  ])('refuses %s by name', (_what, json) => {
    const parse = (): unknown => parseJob(JSON.parse(json) as object);
    expect(parse).toThrow(RunPlanError);
    expect(parse).toThrow(/delete the job/);
  });
});
