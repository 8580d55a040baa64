'use strict';

const { load } = require('./binary.cjs');

module.exports = load(__dirname);
