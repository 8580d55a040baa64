import { BadRequestException, Catch } from '@nestjs/common';
import type { ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';

import { UnsupportedQueryError, UnsupportedValueError } from '../errors';

/**
 * Responds with 400 to a value that an encrypted column cannot store exactly. The response names neither
 * entity nor property. For HTTP, over any platform.
 */
@Catch(UnsupportedValueError)
export class UnsupportedValueFilter extends BaseExceptionFilter {
  override catch(error: UnsupportedValueError, host: ArgumentsHost): void {
    super.catch(badRequest('A value of the request cannot be stored.', error), host);
  }
}

/**
 * Responds with 400 to a query that ciphertext cannot answer. For routes whose **clients** choose the column to
 * sort or filter by; anywhere else such a query is a mistake of the program, and 500 is the truth.
 * The response names neither entity nor property. For HTTP, over any platform.
 */
@Catch(UnsupportedQueryError)
export class UnsupportedQueryFilter extends BaseExceptionFilter {
  override catch(error: UnsupportedQueryError, host: ArgumentsHost): void {
    super.catch(badRequest('The request cannot be sorted or filtered like this.', error), host);
  }
}

function badRequest(message: string, cause: Error): BadRequestException {
  return new BadRequestException(message, { cause });
}
