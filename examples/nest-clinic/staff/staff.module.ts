import { Module } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  ActorInterceptor,
  KeyScopeInterceptor,
  ScopeMismatchFilter,
} from 'typeorm-field-encryption/nestjs';

import { StaffController } from './staff.controller.js';
import { Staff } from './staff.entity.js';
import { actorOf, tenantOf } from './staff.guard.js';
import { StaffService } from './staff.service.js';

@Module({
  imports: [TypeOrmModule.forFeature([Staff])],
  controllers: [StaffController],
  providers: [
    StaffService,
    { provide: APP_INTERCEPTOR, useValue: new KeyScopeInterceptor(tenantOf) },
    { provide: APP_INTERCEPTOR, useValue: new ActorInterceptor(actorOf) },
    { provide: APP_FILTER, useClass: ScopeMismatchFilter },
  ],
  exports: [StaffService],
})
export class StaffModule {}
