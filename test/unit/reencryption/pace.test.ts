import { Pace } from '../../../src/reencryption/walk/pace';

const pageOf = (rows: number, ...cells: unknown[][]) => ({ rows, keys: [], cells, versions: [] });

describe('Pace', () => {
  it('begins with few rows and takes more while the database is fast', () => {
    const pace = new Pace(2000, undefined);
    expect(pace.rows).toBe(50);
    pace.took(10);
    expect(pace.rows).toBe(100);
    for (let page = 0; page < 8; page++) pace.took(10);
    expect(pace.rows).toBe(2000);
    pace.took(5000);
    expect(pace.rows).toBe(1000);
  });

  it('takes no more rows than there is room for their content', () => {
    const pace = new Pace(2000, undefined);
    pace.saw(pageOf(2, ['x'.repeat(1024 * 1024), Buffer.alloc(1024 * 1024)], [null, 'y']));
    expect(pace.rows).toBe(3);
    pace.saw(pageOf(1, ['x'.repeat(20 * 1024 * 1024)]));
    expect(pace.rows).toBe(1);
    pace.saw(pageOf(1, ['short']));
    expect(pace.rows).toBe(50);
  });

  it('never takes more rows at once than it may take in a second', () => {
    expect(new Pace(2000, 50).rows).toBe(50);
  });
});
