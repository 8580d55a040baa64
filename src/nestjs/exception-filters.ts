import {
  BadRequestException,
  Catch,
  ForbiddenException,
  HttpException,
  HttpStatus,
  NotFoundException,
} from '@nestjs/common';
import type { ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';

import { RateLimitedError } from '../access/rate-limited-error';
import {
  AccessDeniedError,
  ApprovalRequiredError,
  ScopeMismatchError,
  UnsupportedQueryError,
  UnsupportedValueError,
} from '../errors';

/**
 * Responds with 400 to a value that an encrypted column cannot store exactly, or that `runAs` refuses. The response
 * names neither entity nor property. For HTTP, over any platform.
 */
@Catch(UnsupportedValueError)
export class UnsupportedValueFilter extends BaseExceptionFilter {
  override catch(error: UnsupportedValueError, host: ArgumentsHost): void {
    super.catch(badRequest('A value of the request cannot be used.', error), host);
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

/**
 * Responds with 404 to a request that came upon a row of another scope, such as of another tenant: to the client
 * there is no such row. A missing scope is a mistake of the program, and stays a 500. For HTTP, over any platform.
 */
@Catch(ScopeMismatchError)
export class ScopeMismatchFilter extends BaseExceptionFilter {
  override catch(error: ScopeMismatchError, host: ArgumentsHost): void {
    // The body of any other row that is not found.
    const body = { message: 'Not Found', statusCode: 404 };
    super.catch(new NotFoundException(body, { cause: error }), host);
  }
}

/**
 * Responds with 403 to a request whose actor has too low a level for it (`access`). The response names neither
 * level nor operation. For HTTP, over any platform.
 */
@Catch(AccessDeniedError)
export class AccessDeniedFilter extends BaseExceptionFilter {
  override catch(error: AccessDeniedError, host: ArgumentsHost): void {
    const body = { message: 'Forbidden', statusCode: 403 };
    super.catch(new ForbiddenException(body, { cause: error }), host);
  }
}

/**
 * Responds with 403 to a request for what needs the approval of others (`approvals`). The body holds the id of the
 * request to be signed as `request`, and names no operation. For HTTP, over any platform.
 */
@Catch(ApprovalRequiredError)
export class ApprovalRequiredFilter extends BaseExceptionFilter {
  override catch(error: ApprovalRequiredError, host: ArgumentsHost): void {
    const body = { message: 'Approval Required', request: error.request, statusCode: 403 };
    super.catch(new ForbiddenException(body, { cause: error }), host);
  }
}

/**
 * Responds with 429 to a request whose actor has used more values than the option `guard` allows, and says in
 * `Retry-After` when to try again. The response names neither limit nor property. For HTTP, over any platform.
 */
@Catch(RateLimitedError)
export class RateLimitedFilter extends BaseExceptionFilter {
  override catch(error: RateLimitedError, host: ArgumentsHost): void {
    const adapter = this.applicationRef ?? this.httpAdapterHost?.httpAdapter;
    const seconds = String(Math.ceil(error.retryAfterMs / 1000));
    adapter?.setHeader(host.getArgByIndex(1), 'Retry-After', seconds);
    const statusCode = HttpStatus.TOO_MANY_REQUESTS;
    const body = { message: 'Too Many Requests', statusCode };
    super.catch(new HttpException(body, statusCode, { cause: error }), host);
  }
}

function badRequest(message: string, cause: Error): BadRequestException {
  return new BadRequestException(message, { cause });
}
