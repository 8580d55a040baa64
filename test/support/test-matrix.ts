const matrix = process.env['TEST_MATRIX'] ?? '';

/** Whether every variant is tried with every other, as by `npm run test:all`. */
export const isWholeMatrix = matrix === 'all' || matrix === 'each';

/** Whether also the long suites that have little to do with TypeORM are run with each of its majors. */
export const isEachMajor = matrix === 'each';
