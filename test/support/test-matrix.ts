/** How much is tried with what: by `npm test`, by `npm run test:all`, or everything with everything. */
export const spread = spreadOf(process.env['TEST_MATRIX'] ?? '');

/** Whether also suites run that take long. */
export const isWholeMatrix = spread !== 'one';

/** Whether also the long suites that have little to do with TypeORM are run with each of its majors. */
export const isEachMajor = spread === 'each';

function spreadOf(matrix: string): 'one' | 'all' | 'each' {
  return matrix === 'all' || matrix === 'each' ? matrix : 'one';
}
