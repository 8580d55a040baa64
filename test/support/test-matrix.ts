/** Whether every variant is tried with every other, as by `npm run test:all`. */
export const isWholeMatrix = process.env['TEST_MATRIX'] === 'all';
