/* The checks of login messages: what a peer may not write. */
#include <criterion/criterion.h>

#include "lib/shm/login.h"

Test(login, questions)
{
    struct shm_login_question question = {.login = 1, .step = SHM_LOGIN_PASSWORD, .name_length = SHM_LOGIN_NAME_MAX};
    struct shm_error error;
    cr_assert_eq(shm_login_question_check(&question, &error), 0);
    question.data_length = SHM_LOGIN_DATA_MAX + 1;
    cr_assert_eq(shm_login_question_check(&question, &error), -1);
    question.data_length = SHM_LOGIN_DATA_MAX;
    cr_assert_eq(shm_login_question_check(&question, &error), 0);
    question.step = SHM_LOGIN_CONTINUE;
    cr_assert_eq(shm_login_question_check(&question, &error), -1, "a name in the middle");
    question.name_length = 0;
    cr_assert_eq(shm_login_question_check(&question, &error), 0);
    question.step = SHM_LOGIN_CONTINUE + 1;
    cr_assert_eq(shm_login_question_check(&question, &error), -1);
    question.step = 0;
    cr_assert_eq(shm_login_question_check(&question, &error), -1);
    question = (struct shm_login_question){.login = 1, .step = SHM_LOGIN_BEGIN, .name_length = SHM_LOGIN_NAME_MAX + 1};
    cr_assert_eq(shm_login_question_check(&question, &error), -1);
    question = (struct shm_login_question){.step = SHM_LOGIN_BEGIN};
    cr_assert_eq(shm_login_question_check(&question, &error), -1, "login 0");
}

Test(login, verdicts)
{
    struct shm_login_verdict verdict = {.login = 1, .result = SHM_LOGIN_ACCEPTED};
    cr_assert_eq(shm_login_verdict_check(&verdict, NULL), 0);
    verdict.result = SHM_LOGIN_UNAVAILABLE + 1;
    cr_assert_eq(shm_login_verdict_check(&verdict, NULL), -1);
    verdict.result = 0;
    cr_assert_eq(shm_login_verdict_check(&verdict, NULL), -1);
    verdict = (struct shm_login_verdict){.login = 1, .result = SHM_LOGIN_ACCEPTED, .user_length = 257};
    cr_assert_eq(shm_login_verdict_check(&verdict, NULL), -1);
    verdict = (struct shm_login_verdict){.login = 1, .result = SHM_LOGIN_ACCEPTED, .data_length = 1777};
    cr_assert_eq(shm_login_verdict_check(&verdict, NULL), -1);
    verdict = (struct shm_login_verdict){.result = SHM_LOGIN_ACCEPTED};
    cr_assert_eq(shm_login_verdict_check(&verdict, NULL), -1);
}
